// SPDX-License-Identifier: GPL-2.0-only
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <thread>

#include "base/counters.h"
#include "base/limits.h"
#include "unit/proxy/proxy_fixture.h"

namespace shunt {
namespace {

using namespace test;

using RunningProxyTest = ProxyTest;

TEST_F(RunningProxyTest, carries_a_flow_and_records_it) {
  start();
  UniqueFd client = dial(front_);
  UniqueFd upstream = accept_one(server_);
  send_all(client.get(), "hello");
  EXPECT_EQ(receive(upstream.get(), 5), "hello");
  EXPECT_EQ(proxy_->live_flows(), 1U);
  client.reset();
  upstream.reset();
  const auto ends = log_.wait_for_ends(1);
  EXPECT_EQ(ends[0].reason, EndReason::closed);
  EXPECT_EQ(ends[0].bytes_up, 5U);
}

TEST_F(RunningProxyTest, refused_upstream_becomes_a_reset_and_is_recorded_as_refused) {
  UniqueFd closed = listen_on_loopback();
  const Endpoint nobody = *local_endpoint(closed.get());
  closed.reset();
  start(nobody);
  const UniqueFd client = dial(front_);
  expect_reset(client);
  const auto ends = log_.wait_for_ends(1);
  EXPECT_EQ(ends[0].reason, EndReason::refused);
  EXPECT_EQ(ends[0].failure.value().reason, ConnectReason::refused);
}

TEST_F(RunningProxyTest, direct_dial_of_the_own_listener_is_reset_and_dials_nobody) {
  start(std::nullopt, true);
  const UniqueFd client = dial(front_);
  expect_reset(client);
  EXPECT_EQ(log_.wait_for_ends(1)[0].failure.value().reason, ConnectReason::no_destination);
  pollfd poll{.fd = server_.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&poll, 1, 50), 0);
}

// The way out leads back to the listener, as after a lost mark: one hop, not thousands.
TEST_F(RunningProxyTest, loop_ends_after_one_hop) {
  UniqueFd listener = listen_on_loopback();
  front_ = *local_endpoint(listener.get());
  ProxyOptions options;
  options.workers.emplace_back();
  options.workers.back().tcp.push_back(std::move(listener));
  auto guard = std::make_shared<LoopGuard>();
  options.loop_guard = guard;
  options.policy = Policy::always(std::make_shared<FixedWayOut>(front_, guard.get()));
  options.log = &log_;
  proxy_ = std::move(Proxy::start(std::move(options))).value();
  const UniqueFd client = dial(front_);
  expect_reset(client);
  const auto ends = log_.wait_for_ends(2);
  EXPECT_EQ(ends.size(), 2U);
  EXPECT_EQ(ends[0].failure.value().reason, ConnectReason::loop);
}

TEST_F(RunningProxyTest, drain_lets_live_flows_finish_and_listens_no_more) {
  start();
  UniqueFd client = dial(front_);
  UniqueFd upstream = accept_one(server_);
  send_all(client.get(), "first");
  EXPECT_EQ(receive(upstream.get(), 5), "first");
  std::jthread peers([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    send_all(upstream.get(), "last words");
    upstream.reset();
    EXPECT_EQ(receive_to_end(client.get()), "last words");
    client.reset();
  });
  EXPECT_TRUE(proxy_->drain(10'000));
  UniqueFd late = std::move(make_socket(Family::ipv4, SocketType::stream)).value();
  test::make_blocking(late.get());
  const SocketAddress address(front_);
  EXPECT_NE(::connect(late.get(), address.get(), address.size()), 0);
  EXPECT_EQ(errno, ECONNREFUSED);
}

TEST_F(RunningProxyTest, drain_gives_up_at_its_deadline_and_stop_resets_the_rest) {
  start();
  const UniqueFd client = dial(front_);
  const UniqueFd upstream = accept_one(server_);
  const auto before = counted(Counter::flows_cut_by_drain);
  EXPECT_FALSE(proxy_->drain(100));
  proxy_->stop();
  expect_reset(client);
  expect_reset(upstream);
  EXPECT_EQ(counted(Counter::flows_cut_by_drain), before + 1);
  EXPECT_EQ(log_.wait_for_ends(1)[0].reason, EndReason::shutdown);
}

/// RLIMIT_NOFILE lowered for one test.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t limit) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit lowered{.rlim_cur = limit, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &lowered);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(RunningProxyTest, descriptors_of_others_are_not_for_flows) {
  start();
  const auto before = proxy_->flow_capacity();
  proxy_->stop();
  other_descriptors_ = 40;
  start();
  EXPECT_LE(proxy_->flow_capacity(), before - 40 / limits::kFdsPerFlow);
}

TEST_F(RunningProxyTest, flows_beyond_the_descriptors_wait_and_are_served_later) {
  constexpr int kClients = 60;
  const FewDescriptors few(160);  // the clients and the server of this test live there too
  std::optional<FewDescriptors> proxy_sees;
  proxy_sees.emplace(40);
  start();
  proxy_sees.reset();
  EXPECT_LE(proxy_->flow_capacity(), 10U);
  std::jthread server([&] {
    for (int i = 0; i < kClients; ++i) {
      const UniqueFd upstream = accept_one(server_);
      send_all(upstream.get(), receive(upstream.get(), 4));
    }
  });
  std::vector<UniqueFd> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(dial(front_));
    send_all(clients.back().get(), "ping");
  }
  for (UniqueFd& client : clients) {
    EXPECT_EQ(receive_to_end(client.get()), "ping");
    client.reset();
  }
  log_.wait_for_ends(kClients);
  EXPECT_EQ(log_.distinct_ids(), static_cast<std::size_t>(kClients));
}

}  // namespace
}  // namespace shunt
