// SPDX-License-Identifier: GPL-2.0-only
// The checker has a thread of its own, so what it finds is waited for with a deadline.
#include "egress/health_checker.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/error_numbers.h"
#include "egress/direct.h"
#include "egress/http_connect.h"
#include "egress/socks5.h"
#include "net/socket.h"
#include "unit/support/no_threads.h"

namespace shunt {
namespace {

using namespace std::string_literals;

constexpr auto kPatience = std::chrono::seconds(10);

/// A listener whose port is known; answers with `answer` to whoever connects, until it goes.
class Server {
 public:
  explicit Server(std::string answer) : answer_(std::move(answer)) {
    fd_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_TRUE(bind_to(fd_.get(), {Address::loopback(Family::ipv4), 0}).has_value());
    EXPECT_EQ(::listen(fd_.get(), 16), 0);
    where_ = local_endpoint(fd_.get()).value_or(Endpoint{});
    thread_ = std::jthread([this] { serve(); });
  }
  ~Server() {
    ::shutdown(fd_.get(), SHUT_RDWR);  // accept() answers EINVAL
  }
  [[nodiscard]] std::string address() const { return where_.text(); }

 private:
  void serve() {
    for (;;) {
      const UniqueFd client(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client.valid()) return;
      char request[1024];
      if (answer_.empty() || ::recv(client.get(), request, sizeof request, 0) <= 0) continue;
      ::send(client.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
    }
  }

  std::string answer_;
  UniqueFd fd_;
  Endpoint where_;
  std::jthread thread_;
};

std::shared_ptr<const Group> group_of_one(std::string target) {
  return Group::create("eu", GroupKind::failover, {{"paris", make_direct({})}},
                       CheckSpec{.target = std::move(target),
                                 .lowest_status = 200,
                                 .highest_status = 299,
                                 .interval_ms = 200,
                                 .timeout_ms = 200});
}

bool becomes(const Group& group, bool dead) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (group.status()[0].found_dead != dead) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

std::unique_ptr<HealthChecker> checker_of(const std::shared_ptr<const Group>& group) {
  auto checker = HealthChecker::create(std::span(&group, 1));
  EXPECT_TRUE(checker.has_value());
  EXPECT_TRUE((*checker)->start().has_value());
  (*checker)->begin();
  return std::move(*checker);
}

TEST(HealthChecker, finds_a_member_dead_and_alive_again) {
  auto server = std::make_unique<Server>("");
  const std::string address = server->address();
  const auto group = group_of_one("tcp://" + address);
  EXPECT_TRUE(group->report_check(0, {}));
  const auto checker = checker_of(group);
  EXPECT_TRUE(becomes(*group, false));
  server.reset();
  EXPECT_TRUE(becomes(*group, true));
}

TEST(HealthChecker, a_status_out_of_the_range_is_death) {
  Server good("HTTP/1.1 204 No Content\r\n\r\n");
  Server bad("HTTP/1.1 503 Service Unavailable\r\n\r\n");
  Server not_http("220 ready\r\n");
  const auto alive = group_of_one("http://" + good.address() + "/alive");
  const auto dead = group_of_one("http://" + bad.address());
  const auto odd = group_of_one("http://" + not_http.address());
  EXPECT_TRUE(alive->report_check(0, {}));
  const std::shared_ptr<const Group> groups[] = {alive, dead, odd};
  const auto checker = HealthChecker::create(groups);
  ASSERT_TRUE(checker.has_value());
  EXPECT_TRUE((*checker)->start().has_value());
  (*checker)->begin();
  EXPECT_TRUE(becomes(*alive, false));
  EXPECT_TRUE(becomes(*dead, true));
  EXPECT_TRUE(becomes(*odd, true));
}

TEST(HealthChecker, a_silent_server_is_death_after_the_timeout) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // never accepts
  ASSERT_TRUE(bind_to(listener.get(), {Address::loopback(Family::ipv4), 0}).has_value());
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  const auto group = group_of_one("http://" + local_endpoint(listener.get())->text());
  const auto checker = checker_of(group);
  EXPECT_TRUE(becomes(*group, true));
}

/// Connects when it is told to, and else tries for as long as it may.
class Slow : public WayOut {
 public:
  std::string_view name() const override { return "slow"; }
  bool wants_name() const override { return false; }
  bool carries_udp() const override { return false; }
  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                        const Hints&) const override {
    ++trying;
    if (!alive) (void)co_await loop.sleep(flow.dial_ms(60'000));
    --trying;
    ++tried;
    if (!alive) co_return std::unexpected(failure_from_errno(ETIMEDOUT));
    co_return Upstream{.socket = {}, .reported = {}, .early_data = {}};
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop&,
                                                             const Flow&) const override {
    co_return std::unexpected(failure_from_errno(ETIMEDOUT));
  }

  std::atomic<bool> alive = false;
  mutable std::atomic<int> trying = 0;
  mutable std::atomic<int> tried = 0;
};

TEST(HealthChecker, a_look_is_over_with_its_timeout_however_long_the_member_would_try) {
  const auto slow = std::make_shared<Slow>();
  const auto group = Group::create("eu", GroupKind::failover, {{"paris", slow}},
                                   CheckSpec{.target = "tcp://192.0.2.1:443",
                                             .lowest_status = 200,
                                             .highest_status = 299,
                                             .interval_ms = 100,
                                             .timeout_ms = 50});
  const auto checker = checker_of(group);
  EXPECT_TRUE(becomes(*group, true));
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (slow->tried < 4 && std::chrono::steady_clock::now() < deadline) {
    EXPECT_LE(slow->trying, 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GE(slow->tried, 4);
  slow->alive = true;
  EXPECT_TRUE(becomes(*group, false));
}

TEST(HealthChecker, without_a_thread_it_does_not_start_and_says_so) {
  const auto group = group_of_one("tcp://192.0.2.1:443");
  const auto checker = HealthChecker::create(std::span(&group, 1));
  ASSERT_TRUE(checker.has_value());
  const test::NoThreads none;
  const auto started = (*checker)->start();
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().os_error, EAGAIN);
}

TEST(HealthChecker, the_host_of_a_target_is_told_as_it_is_written) {
  const auto host_of = [](const char* target) { return check_host({.target = target}); };
  EXPECT_EQ(host_of("tcp://a.example:443"), "a.example");
  EXPECT_EQ(host_of("http://b.example/alive"), "b.example");
  EXPECT_EQ(host_of("http://[2001:db8::1]:8080/"), "2001:db8::1");
  EXPECT_EQ(host_of(""), std::nullopt);
  EXPECT_EQ(host_of("a.example"), std::nullopt);
}

TEST(HealthChecker, an_unknown_name_is_an_error_that_says_where_it_stands) {
  const auto group = group_of_one("http://no-such-host.invalid/alive");
  const auto checker = HealthChecker::create(std::span(&group, 1));
  ASSERT_FALSE(checker.has_value());
  EXPECT_EQ(checker.error().kind, Kind::configuration);
  EXPECT_TRUE(checker.error().message.starts_with(
      "way out \"eu\", check: cannot resolve no-such-host.invalid"))
      << checker.error().message;
}

TEST(HealthChecker, targets_that_cannot_be_checked_are_errors) {
  for (const char* target : {"tcp://192.0.2.1", "tcp://192.0.2.1:443/path", "http://",
                             "192.0.2.1:1", "http://192.0.2.1/a b", "tcp://alice@192.0.2.1:443"}) {
    const auto group = group_of_one(target);
    const auto checker = HealthChecker::create(std::span(&group, 1));
    ASSERT_FALSE(checker.has_value()) << target;
    EXPECT_EQ(checker.error().number, error_number::kBadWayOut);
  }
}

std::shared_ptr<const Group> proxies(const std::shared_ptr<const WayOut>& proxy) {
  return Group::create("eu", GroupKind::failover, {{"paris", proxy}},
                       CheckSpec{.target = "", .interval_ms = 200, .timeout_ms = 200});
}

std::shared_ptr<const WayOut> socks5_at(const Server& server, bool password) {
  const auto address = *Endpoint::parse(server.address());
  std::optional<Credentials> credentials;
  if (password) credentials = Credentials{.user = "alice", .password = "open-sesame"};
  return make_socks5("socks5://" + server.address(), {address}, credentials, false, {});
}

// The server ends the connection behind its answer: a request would be a failure.
TEST(HealthChecker, without_a_target_the_proxy_itself_is_greeted) {
  Server open("\x05\x00"s);
  const auto group = proxies(socks5_at(open, false));
  EXPECT_TRUE(group->report_check(0, {}));
  const auto checker = checker_of(group);
  EXPECT_TRUE(becomes(*group, false));
}

TEST(HealthChecker, a_proxy_that_takes_the_password_is_alive_and_one_that_refuses_it_is_dead) {
  Server taking("\x05\x02\x01\x00"s);
  Server refusing("\x05\x02\x01\x01"s);
  Server wanting("\x05\xff"s);
  const auto alive = proxies(socks5_at(taking, true));
  const auto wrong = proxies(socks5_at(refusing, true));
  const auto unknown = proxies(socks5_at(wanting, false));
  EXPECT_TRUE(alive->report_check(0, {}));
  const std::shared_ptr<const Group> groups[] = {alive, wrong, unknown};
  const auto checker = HealthChecker::create(groups);
  ASSERT_TRUE(checker.has_value());
  EXPECT_TRUE((*checker)->start().has_value());
  (*checker)->begin();
  EXPECT_TRUE(becomes(*alive, false));
  EXPECT_TRUE(becomes(*wrong, true));
  EXPECT_TRUE(becomes(*unknown, true));
}

TEST(HealthChecker, an_http_proxy_that_can_be_connected_to_is_alive) {
  auto server = std::make_unique<Server>("");
  const auto address = *Endpoint::parse(server->address());
  const auto group = proxies(make_http_connect("http://proxy", {address}, std::nullopt, {}));
  EXPECT_TRUE(group->report_check(0, {}));
  const auto checker = checker_of(group);
  EXPECT_TRUE(becomes(*group, false));
  server.reset();
  EXPECT_TRUE(becomes(*group, true));
}

TEST(HealthChecker, a_group_that_is_a_member_is_alive_with_one_of_its_own) {
  Server open("\x05\x00"s);
  Server wanting("\x05\xff"s);
  const auto inner =
      Group::create("inner", GroupKind::failover,
                    {{"bad", socks5_at(wanting, false)}, {"good", socks5_at(open, false)}});
  const auto group = proxies(inner);
  EXPECT_TRUE(group->report_check(0, {}));
  const auto checker = checker_of(group);
  EXPECT_TRUE(becomes(*group, false));
}

TEST(HealthChecker, asks_nobody_before_it_is_started) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ASSERT_TRUE(bind_to(listener.get(), {Address::loopback(Family::ipv4), 0}).has_value());
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  const auto group = group_of_one("tcp://" + local_endpoint(listener.get())->text());
  const auto checker = HealthChecker::create(std::span(&group, 1));
  ASSERT_TRUE(checker.has_value());
  pollfd waiting{.fd = listener.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&waiting, 1, 100), 0);
  EXPECT_TRUE((*checker)->start().has_value());
  (*checker)->begin();
  EXPECT_EQ(::poll(&waiting, 1, 10'000), 1);
}

TEST(HealthChecker, groups_without_a_check_need_none) {
  const auto group = Group::create("eu", GroupKind::failover, {{"paris", make_direct({})}});
  EXPECT_TRUE(HealthChecker::create(std::span(&group, 1)).has_value());
}

}  // namespace
}  // namespace shunt
