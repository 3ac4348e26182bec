// SPDX-License-Identifier: GPL-2.0-only
// A held flow: its client waits in connect() until serve() admits or refuses it.
#include "proxy/serve.h"

#include <gtest/gtest.h>

#include "base/counters.h"
#include "egress/direct.h"
#include "proxy/fd_budget.h"
#include "unit/support/loop_thread.h"
#include "unit/support/tcp_pair.h"

namespace shunt {
namespace {

using test::LoopThread;

struct Story {
  bool wants_name = false;  // the way out does, and the client may be peeked at
  bool held = false;        // no, it may not
  std::vector<std::string> rules = {};
  std::vector<std::string> steps = {};
  std::optional<ConnectFailure> refused_with = {};
};

class HeldClient final : public Admission {
 public:
  HeldClient(Story& story, UniqueFd fd) : story_(story), fd_(std::move(fd)) {}
  Task<std::expected<UniqueFd, ConnectFailure>> admit() override {
    story_.steps.emplace_back("admit");
    if (!fd_.valid()) {
      co_return std::unexpected(ConnectFailure{.reason = ConnectReason::reset, .detail = "gone"});
    }
    co_return std::move(fd_);
  }
  void refuse(const ConnectFailure& failure) override {
    story_.steps.emplace_back("refuse");
    story_.refused_with = failure;
  }
  UniqueFd drop() override {
    story_.steps.emplace_back("drop");
    return {};
  }
  [[nodiscard]] int peekable_fd() const override {
    return story_.wants_name && !story_.held ? fd_.get() : -1;
  }
  [[nodiscard]] std::optional<std::string> arrival_interface() const override { return {}; }

 private:
  Story& story_;
  UniqueFd fd_;
};

class ReportingWayOut final : public WayOut {
 public:
  explicit ReportingWayOut(Story& story) : story_(story), direct_(make_direct({})) {}
  [[nodiscard]] std::string_view name() const override { return "direct"; }
  [[nodiscard]] bool wants_name() const override { return story_.wants_name; }
  [[nodiscard]] bool carries_udp() const override { return false; }
  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                        const Hints& hints) const override {
    story_.steps.emplace_back(hints.host.empty() ? "dial" : "dial " + hints.host);
    auto upstream = co_await direct_->connect(loop, flow, hints);
    story_.steps.emplace_back(upstream ? "dialled" : "dial failed");
    co_return upstream;
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& /*loop*/,
                                                             const Flow& /*flow*/) const override {
    co_return std::unexpected(ConnectFailure{.reason = ConnectReason::unsupported, .detail = {}});
  }

 private:
  Story& story_;
  std::shared_ptr<const WayOut> direct_;
};

class EndLog final : public FlowLog {
 public:
  void http_request(const Flow& /*flow*/, const HttpRequest& /*request*/) override {}
  void http_response(const Flow& /*flow*/, const HttpResponse& /*response*/) override {}
  void tls_hello(const Flow& /*flow*/, const TlsHello& /*hello*/) override {}
  void flow_end(const Flow& flow, const FlowEnd& end) override {
    last = end;
    rule = flow.rule;
  }
  std::optional<FlowEnd> last;
  std::uint32_t rule = 0;
};

/// By rules that may name the way out "reporting"; without any, everything goes there.
std::shared_ptr<const Policy> policy_of(Story& story) {
  PolicySource source;
  source.ways_out = {"reporting"};
  source.fallback.text = "reporting";
  for (const std::string& text : story.rules) source.rules.push_back({.text = text, .place = {}});
  return Policy::create(Ruleset::compile(std::move(source)).value(),
                        {make_direct({}), std::make_shared<ReportingWayOut>(story)});
}

Task<int> serve_held(EventLoop& loop, Story& story, EndLog& log, Endpoint destination,
                     UniqueFd client) {
  FdBudget budget(100);
  RelayResources relay(loop, budget, 60'000);
  const CurrentPolicy policy(policy_of(story));
  DroppedClients dropped(loop, budget);
  LiveFlows live;
  LoopGuard guard;
  ServeContext context{.relay = relay,
                       .decide = {.relay = relay,
                                  .policy = policy,
                                  .names = {},
                                  .processes = nullptr,
                                  .server_first_ports = {},
                                  .sniff_wait_ms = 300},
                       .dropped = dropped,
                       .live = live,
                       .loop_guard = guard,
                       .own_listeners = {},
                       .log = log,
                       .observe_content = false};
  Captured captured{.flow = {.id = 1,
                             .source = *Endpoint::parse("192.0.2.2:4000"),
                             .original_destination = destination,
                             .started = Clock::now()},
                    .client = std::make_unique<HeldClient>(story, std::move(client))};
  co_await serve(context, std::move(captured));
  co_return 0;
}

TEST(Serve, held_client_is_admitted_only_after_the_upstream_is_connected) {
  LoopThread thread;
  const UniqueFd server = test::listen_on_loopback();
  auto client = test::tcp_pair();
  Story story;
  EndLog log;
  auto served = thread.start<int>([&] {
    return serve_held(thread.loop(), story, log, *local_endpoint(server.get()),
                      std::move(client.far));
  });
  ASSERT_TRUE(test::wait_for(server.get(), POLLIN));
  UniqueFd upstream(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
  test::send_all(upstream.get(), "banner");
  EXPECT_EQ(test::receive(client.near.get(), 6), "banner");
  upstream.reset();
  client.near.reset();
  served.get();
  EXPECT_EQ(story.steps, (std::vector<std::string>{"dial", "dialled", "admit"}));
  EXPECT_EQ(log.last.value().reason, EndReason::closed);
}

TEST(Serve, held_client_is_refused_with_the_true_error_and_never_admitted) {
  LoopThread thread;
  UniqueFd closed = test::listen_on_loopback();
  const Endpoint nobody = *local_endpoint(closed.get());
  closed.reset();
  Story story;
  EndLog log;
  thread.start<int>([&] { return serve_held(thread.loop(), story, log, nobody, {}); }).get();
  EXPECT_EQ(story.steps, (std::vector<std::string>{"dial", "dial failed", "refuse"}));
  EXPECT_EQ(reason_errno(story.refused_with.value().reason), ECONNREFUSED);
  EXPECT_EQ(log.last.value().reason, EndReason::refused);
}

TEST(Serve, held_client_is_let_in_first_where_its_rule_says_so) {
  LoopThread thread;
  UniqueFd closed = test::listen_on_loopback();
  const Endpoint nobody = *local_endpoint(closed.get());
  closed.reset();
  auto client = test::tcp_pair();
  Story story{.rules = {"-> reporting connect early"}};
  EndLog log;
  thread
      .start<int>(
          [&] { return serve_held(thread.loop(), story, log, nobody, std::move(client.far)); })
      .get();
  EXPECT_EQ(story.steps, (std::vector<std::string>{"admit", "dial", "dial failed"}));
  int error = 0;
  test::receive_to_end(client.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
}

/// What is done with a client that sends `text` and waits for the upstream.
std::vector<std::string> steps_of(Story story, std::string_view text, bool fin = false) {
  LoopThread thread;
  const UniqueFd server = test::listen_on_loopback();
  auto client = test::tcp_pair();
  EndLog log;
  test::send_all(client.near.get(), text);
  if (fin) ::shutdown(client.near.get(), SHUT_WR);
  auto served = thread.start<int>([&] {
    return serve_held(thread.loop(), story, log, *local_endpoint(server.get()),
                      std::move(client.far));
  });
  EXPECT_TRUE(test::wait_for(server.get(), POLLIN));
  client.near.reset();
  UniqueFd(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC)).reset();
  served.get();
  return story.steps;
}

/// What is done with a client whose way out wants names and that can only be looked at once it is
/// let in, by a rule with `action`.
std::vector<std::string> steps_of_held(const std::string& action) {
  return steps_of({.wants_name = true, .held = true, .rules = {action}},
                  "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
}

TEST(Serve, held_client_is_let_in_first_for_a_way_out_that_sends_names) {
  EXPECT_EQ(steps_of_held("-> reporting"),
            (std::vector<std::string>{"admit", "dial a.example", "dialled"}));
}

TEST(Serve, held_client_waits_for_a_way_out_that_sends_names_where_its_rule_says_so) {
  EXPECT_EQ(steps_of_held("-> reporting connect honest"),
            (std::vector<std::string>{"dial", "dialled", "admit"}));
}

/// What a way out that wants names is asked to do for a client that sends `text`, then its FIN.
std::vector<std::string> steps_after(std::string_view text, bool fin) {
  return steps_of({.wants_name = true, .held = false, .rules = {}, .steps = {}, .refused_with = {}},
                  text, fin);
}

TEST(Serve, only_a_client_that_keeps_its_name_to_itself_is_counted_as_silent) {
  const auto expired = [] { return counted(Counter::sniff_waits_expired); };
  const auto before = expired();
  EXPECT_EQ(steps_after("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", false)[0], "dial a.example");
  EXPECT_EQ(steps_after("GET / HTTP/1.1\r\nHo", true)[0], "dial");
  EXPECT_EQ(expired(), before);
  EXPECT_EQ(steps_after("GET / HTTP/1.1\r\nHo", false)[0], "dial");
  EXPECT_EQ(expired(), before + 1);
}

TEST(Serve, held_client_that_went_away_meanwhile_is_recorded_and_not_refused) {
  LoopThread thread;
  const UniqueFd server = test::listen_on_loopback();
  Story story;
  EndLog log;
  thread
      .start<int>(
          [&] { return serve_held(thread.loop(), story, log, *local_endpoint(server.get()), {}); })
      .get();
  EXPECT_EQ(story.steps, (std::vector<std::string>{"dial", "dialled", "admit"}));
  EXPECT_EQ(log.last.value().failure.value().detail, "gone");
}

TEST(Serve, held_client_is_refused_by_a_rule_and_nothing_is_dialled) {
  LoopThread thread;
  Story story{.rules = {"port 9 -> direct", "to 192.0.2.0/24 -> reject"}};
  EndLog log;
  thread
      .start<int>([&] {
        return serve_held(thread.loop(), story, log, *Endpoint::parse("192.0.2.7:80"), {});
      })
      .get();
  EXPECT_EQ(story.steps, (std::vector<std::string>{"refuse"}));
  EXPECT_EQ(reason_errno(story.refused_with.value().reason), ECONNREFUSED);
  EXPECT_EQ(log.last.value().failure.value().reason, ConnectReason::rejected_by_rule);
  EXPECT_EQ(log.rule, 2U);
}

TEST(Serve, held_client_that_a_rule_drops_is_told_nothing) {
  LoopThread thread;
  Story story{.rules = {"-> drop"}};
  EndLog log;
  thread
      .start<int>([&] {
        return serve_held(thread.loop(), story, log, *Endpoint::parse("192.0.2.7:80"), {});
      })
      .get();
  EXPECT_EQ(story.steps, (std::vector<std::string>{"drop"}));
  EXPECT_EQ(log.last.value().failure.value().reason, ConnectReason::dropped_by_rule);
}

TEST(Serve, held_client_whose_ways_out_all_fail_may_be_told_nothing) {
  LoopThread thread;
  UniqueFd closed = test::listen_on_loopback();
  const Endpoint nobody = *local_endpoint(closed.get());
  closed.reset();
  Story story{.rules = {"-> reporting else drop"}};
  EndLog log;
  thread.start<int>([&] { return serve_held(thread.loop(), story, log, nobody, {}); }).get();
  EXPECT_EQ(story.steps, (std::vector<std::string>{"dial", "dial failed", "drop"}));
  EXPECT_EQ(log.last.value().failure.value().reason, ConnectReason::refused);
}

TEST(Serve, held_client_is_let_in_first_where_a_rule_needs_its_name) {
  LoopThread thread;
  const UniqueFd server = test::listen_on_loopback();
  auto client = test::tcp_pair();
  test::send_all(client.near.get(), "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
  Story story{.rules = {"host a.example -> reject"}};
  EndLog log;
  thread
      .start<int>([&] {
        return serve_held(thread.loop(), story, log, *local_endpoint(server.get()),
                          std::move(client.far));
      })
      .get();
  EXPECT_EQ(story.steps, (std::vector<std::string>{"admit"}));
  int error = 0;
  test::receive_to_end(client.near.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
  EXPECT_EQ(log.rule, 1U);
}

}  // namespace
}  // namespace shunt
