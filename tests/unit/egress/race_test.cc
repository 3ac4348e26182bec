// SPDX-License-Identifier: GPL-2.0-only
#include "egress/race.h"

#include <algorithm>
#include <vector>

#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

Endpoint at(const char* text) { return *Endpoint::parse(text); }

/// A listener whose backlog is full: it neither takes nor refuses another connection.
class SilentAddress {
 public:
  explicit SilentAddress(Family family = Family::ipv4) {
    fd_ = std::move(*make_socket(family, SocketType::stream));
    EXPECT_TRUE(bind_to(fd_.get(), {Address::loopback(family), 0}).has_value());
    EXPECT_EQ(::listen(fd_.get(), 0), 0);
    address_ = *local_endpoint(fd_.get());
    const SocketAddress to(address_);
    for (auto& filler : fillers_) {
      filler = std::move(*make_socket(family, SocketType::stream));
      (void)::connect(filler.get(), to.get(), to.size());
    }
  }
  [[nodiscard]] const Endpoint& address() const { return address_; }

 private:
  UniqueFd fd_;
  UniqueFd fillers_[4];
  Endpoint address_;
};

Endpoint refusing_address() {
  const auto fd = make_socket(Family::ipv4, SocketType::stream);
  EXPECT_TRUE(bind_to(fd->get(), {Address::loopback(Family::ipv4), 0}).has_value());
  return *local_endpoint(fd->get());
}

/// Who won, or why nobody did; and how long that took.
struct Finish {
  std::string who;
  std::uint32_t took_ms;
};

// On a loop of its own: one runs only once.
Finish run(const std::vector<Endpoint>& order, std::uint32_t timeout_ms = 5'000,
           const UpstreamOptions& options = {}) {
  Stage stage;
  const auto start = Clock::now();
  auto won = stage.run(race(stage.loop(), order, options, timeout_ms));
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
  const std::string who = won ? won->address.text() : std::string(reason_text(won.error().reason));
  return {who, static_cast<std::uint32_t>(took.count())};
}

TEST(AttemptOrder, the_families_take_turns) {
  const std::vector<Endpoint> addresses{at("[2001:db8::1]:1"), at("[2001:db8::2]:1"),
                                        at("192.0.2.1:1"), at("192.0.2.2:1"), at("192.0.2.3:1")};
  EXPECT_EQ(attempt_order(addresses, 0),
            (std::vector{at("[2001:db8::1]:1"), at("192.0.2.1:1"), at("[2001:db8::2]:1"),
                         at("192.0.2.2:1"), at("192.0.2.3:1")}));
}

TEST(AttemptOrder, what_worked_before_goes_first) {
  const std::vector<Endpoint> addresses{at("192.0.2.1:1"), at("192.0.2.2:1"),
                                        at("[2001:db8::1]:1")};
  EXPECT_EQ(attempt_order(addresses, 1),
            (std::vector{at("192.0.2.2:1"), at("[2001:db8::1]:1"), at("192.0.2.1:1")}));
  EXPECT_EQ(attempt_order({at("192.0.2.1:1")}, 7), (std::vector{at("192.0.2.1:1")}));
}

TEST(Race, the_first_that_connects_wins) {
  Stage stage;
  const FakePeer peer(stage, {});
  const FakePeer other(stage, {});
  EXPECT_EQ(run({peer.address(), other.address()}).who, peer.address().text());
  EXPECT_EQ(run({peer.address()}).who, peer.address().text());
}

TEST(Race, a_refusal_is_followed_by_the_next_at_once) {
  Stage stage;
  const FakePeer peer(stage, {});
  const auto finish = run({refusing_address(), refusing_address(), peer.address()});
  EXPECT_EQ(finish.who, peer.address().text());
  EXPECT_LT(finish.took_ms, kAttemptDelayMs);
}

TEST(Race, a_silent_address_is_overtaken_after_the_delay) {
  Stage stage;
  const SilentAddress silent;
  const FakePeer peer(stage, {});
  const auto finish = run({silent.address(), peer.address()});
  EXPECT_EQ(finish.who, peer.address().text());
  EXPECT_GE(finish.took_ms, kAttemptDelayMs - 1);
  EXPECT_LT(finish.took_ms, 4'000U);
}

/// How many attempts were under way at once.
class Crowd : public UpstreamObserver {
 public:
  void opening() override {}
  void opened(const Endpoint& /*local*/, const Endpoint& /*remote*/) override {
    most = std::max(most, ++open_);
  }
  void not_opened() override {}
  void closed(const Endpoint& /*local*/, const Endpoint& /*remote*/) override { --open_; }

  int most = 0;

 private:
  int open_ = 0;
};

TEST(Race, few_attempts_are_under_way_at_once) {
  Stage stage;
  const SilentAddress silent[5];
  const FakePeer peer(stage, {});
  std::vector<Endpoint> order;
  for (const SilentAddress& each : silent) order.push_back(each.address());
  order.push_back(peer.address());
  Crowd crowd;
  EXPECT_EQ(run(order, 5'000, {.observer = &crowd}).who, peer.address().text());
  EXPECT_EQ(crowd.most, static_cast<int>(kMostAttempts));
}

Task<> lose(EventLoop& loop, const std::vector<Endpoint>& order, const UpstreamOptions& options) {
  const auto won = co_await race(loop, order, options, 1'000);
  EXPECT_FALSE(won.has_value());
}

Task<> lose_together(EventLoop& loop, const std::vector<Endpoint>& order,
                     const UpstreamOptions& options, int count) {
  if (count == 0) co_return;
  co_await both(lose(loop, order, options), lose_together(loop, order, options, count - 1));
}

Task<int> run_together(EventLoop& loop, const std::vector<Endpoint>& order,
                       const UpstreamOptions& options, int count) {
  co_await lose_together(loop, order, options, count);
  co_return count;
}

// Their descriptors beside the flows' own are in no budget.
TEST(Race, few_are_under_way_at_once_and_the_others_take_turns) {
  Stage stage;
  const SilentAddress silent[3];
  std::vector<Endpoint> order;
  for (const SilentAddress& each : silent) order.push_back(each.address());
  Crowd crowd;
  const UpstreamOptions options{.observer = &crowd};
  constexpr int kOthers = 10;
  stage.run(run_together(stage.loop(), order, options, kMostRaces + kOthers));
  EXPECT_LE(crowd.most, kMostRaces * static_cast<int>(kMostAttempts) + kOthers);
}

TEST(Race, all_refusals_are_a_refusal) {
  EXPECT_EQ(run({refusing_address(), refusing_address()}).who, "refused");
}

TEST(Race, silence_everywhere_is_a_timeout) {
  const SilentAddress silent;
  const SilentAddress another;
  const auto finish = run({silent.address(), another.address()}, 500);
  EXPECT_EQ(finish.who, "timed out");
  EXPECT_GE(finish.took_ms, 499U);
  EXPECT_EQ(run({silent.address(), refusing_address()}, 500).who, "timed out");
}

}  // namespace
}  // namespace shunt
