// SPDX-License-Identifier: GPL-2.0-only
// The UDP server on loopback with a made-up capture (every datagram that reaches the listener was
// meant for `destination`) and a made-up way out (every destination is the test's own server).
#include "proxy/serve_udp.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "base/counters.h"
#include "net/socket.h"
#include "unit/support/loop_thread.h"

namespace shunt {
namespace {

using namespace std::chrono_literals;

std::mutex destination_mutex;
Endpoint made_up_destination;

void set_destination(const Endpoint& destination) {
  const std::scoped_lock lock(destination_mutex);
  made_up_destination = destination;
}

std::optional<Endpoint> destination_of(const msghdr& /*message*/) {
  const std::scoped_lock lock(destination_mutex);
  return made_up_destination;
}

class Log final : public FlowLog {
 public:
  void flow_start(const Flow& /*flow*/) override { ++started; }
  void http_request(const Flow& /*flow*/, const HttpRequest& /*request*/) override {}
  void http_response(const Flow& /*flow*/, const HttpResponse& /*response*/) override {}
  void tls_hello(const Flow& /*flow*/, const TlsHello& /*hello*/) override {}
  void flow_end(const Flow& flow, const FlowEnd& end) override {
    const std::scoped_lock lock(mutex_);
    ends_.emplace_back(flow, end);
  }
  std::vector<std::pair<Flow, FlowEnd>> ends() {
    const std::scoped_lock lock(mutex_);
    return ends_;
  }
  std::atomic<int> started = 0;

 private:
  std::mutex mutex_;
  std::vector<std::pair<Flow, FlowEnd>> ends_;
};

/// Replies leave from an ephemeral port of loopback; nothing of it needs a privilege.
class LoopbackReplies final : public ReplySockets {
 public:
  Result<UniqueFd> bound(const Endpoint& source) override {
    ++made;
    UniqueFd fd = SHUNT_TRY(make_socket(source.address.family(), SocketType::datagram));
    SHUNT_CHECK(bind_to(fd.get(), Endpoint{Address::loopback(source.address.family()), 0}));
    return fd;
  }
  Result<UniqueFd> raw(const Address& /*source*/) override {
    return Failure(errno_error("socket(SOCK_RAW)", EPERM));
  }
  std::atomic<int> made = 0;
};

ConnectFailure failure_of(ConnectReason reason) {
  return {.reason = reason, .os_error = 0, .detail = {}};
}

class ToServer final : public WayOut {
 public:
  explicit ToServer(const Endpoint& server) : server_(server) {}
  std::string_view name() const override { return "to-server"; }
  bool wants_name() const override { return false; }
  bool carries_udp() const override { return carries; }
  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop&, const Flow&,
                                                        const Hints&) const override {
    co_return std::unexpected(ConnectFailure{});
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& loop,
                                                             const Flow&) const override {
    ++dials;
    if (dial_ms > 0 && co_await loop.sleep(dial_ms) == Wake::cancelled) {
      co_return std::unexpected(failure_of(ConnectReason::cancelled));
    }
    if (fails) co_return std::unexpected(failure_of(ConnectReason::denied));
    UniqueFd fd = *make_socket(server_.address.family(), SocketType::datagram);
    const SocketAddress to(server_);
    EXPECT_EQ(::connect(fd.get(), to.get(), to.size()), 0);
    UdpUpstream upstream;
    upstream.socket = *WatchedFd::create(loop, std::move(fd), 0);
    upstream.header = header;
    upstream.unwrap = [](const UdpUpstream& of, std::string_view datagram) {
      return datagram.starts_with(of.header) ? std::optional(datagram.substr(of.header.size()))
                                             : std::nullopt;
    };
    if (control != nullptr) {
      upstream.control = *WatchedFd::create(loop, std::move(*control), 0);
    }
    co_return upstream;
  }

  bool carries = true;
  bool fails = false;
  std::uint32_t dial_ms = 0;
  std::string header;
  UniqueFd* control = nullptr;
  mutable std::atomic<int> dials = 0;

 private:
  Endpoint server_;
};

bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

int open_descriptors() {
  DIR* directory = ::opendir("/proc/self/fd");
  int count = 0;
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

/// A test's own socket: the client's, or the server's.
class Peer {
 public:
  explicit Peer(const Address& address)
      : fd_(*make_socket(address.family(), SocketType::datagram)) {
    EXPECT_TRUE(bind_to(fd_.get(), Endpoint{address, 0}));
  }
  [[nodiscard]] Endpoint endpoint() const { return *local_endpoint(fd_.get()); }
  void send(const Endpoint& to, std::string_view payload) {
    const SocketAddress address(to);
    EXPECT_EQ(::sendto(fd_.get(), payload.data(), payload.size(), 0, address.get(), address.size()),
              static_cast<ssize_t>(payload.size()));
  }
  /// The next datagram, empty optional when none came in time; `from` says where from.
  std::optional<std::string> receive(int timeout_ms = 5000) {
    pollfd waiting{fd_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, timeout_ms) != 1) return std::nullopt;
    std::string buffer(70'000, '\0');
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    const auto got = ::recvfrom(fd_.get(), buffer.data(), buffer.size(), 0,
                                reinterpret_cast<sockaddr*>(&storage), &size);
    if (got < 0) return std::nullopt;
    from = *Endpoint::from(storage);
    buffer.resize(static_cast<std::size_t>(got));
    return buffer;
  }
  void close() { fd_.reset(); }
  Endpoint from;

 private:
  UniqueFd fd_;
};

class ServeUdp : public testing::TestWithParam<Family> {
 protected:
  ServeUdp()
      : server(Address::loopback(GetParam())),
        way_out(std::make_shared<ToServer>(server.endpoint())),
        replies(std::make_shared<LoopbackReplies>()) {
    options.way_out = way_out;
    options.reply_sockets = replies;
    options.loop_guard = &guard;
    options.log = &log;
    options.next_flow_id = [id = std::uint64_t{0}]() mutable { return ++id; };
    options.original_destination = destination_of;
    set_destination(GetParam() == Family::ipv4 ? *Endpoint::parse("198.51.100.1:4433")
                                               : *Endpoint::parse("[2001:db8::1]:4433"));
  }

  ~ServeUdp() override {
    if (udp == nullptr) return;
    on_loop<int>([this] { return udp->stop(), 0; });
    EXPECT_EQ(done.wait_for(10s), std::future_status::ready) << "run() did not return";
    on_loop<int>([this] { return udp.reset(), 0; });
  }

  void start() {
    UniqueFd fd = *make_socket(GetParam(), SocketType::datagram);
    EXPECT_TRUE(bind_to(fd.get(), Endpoint{Address::loopback(GetParam()), 0}));
    listener = *local_endpoint(fd.get());
    std::vector<UniqueFd> listeners;
    listeners.push_back(std::move(fd));
    on_loop<int>([&] {
      udp = *UdpServer::create(loop.loop(), std::move(listeners), std::move(options));
      return 0;
    });
    done = loop.start<int>([this] { return run(); });
  }

  Task<int> run() {
    co_await udp->run();
    co_return 0;
  }

  template <class T>
  T on_loop(std::function<T()> work) {
    std::promise<T> promise;
    loop.loop().post([&] { promise.set_value(work()); });
    return promise.get_future().get();
  }

  std::size_t sessions() {
    return on_loop<std::size_t>([this] { return udp->live_sessions(); });
  }

  /// Sends through the proxy; yields what the server received.
  std::optional<std::string> pass(Peer& client, std::string_view payload) {
    client.send(listener, payload);
    return server.receive();
  }

  Peer server;
  std::shared_ptr<ToServer> way_out;
  std::shared_ptr<LoopbackReplies> replies;
  LoopGuard guard;
  Log log;
  UdpOptions options;
  Endpoint listener;
  test::LoopThread loop;
  std::unique_ptr<UdpServer> udp;
  std::future<int> done;
};
INSTANTIATE_TEST_SUITE_P(, ServeUdp, testing::Values(Family::ipv4, Family::ipv6),
                         [](const auto& family) {
                           return family.param == Family::ipv4 ? "ipv4" : "ipv6";
                         });

TEST_P(ServeUdp, question_reaches_the_server_and_its_answer_the_client) {
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_EQ(pass(client, "question"), "question");
  server.send(server.from, "answer");
  EXPECT_EQ(client.receive(), "answer");
  EXPECT_EQ(sessions(), 1U);
  EXPECT_EQ(log.started, 1);
}

TEST_P(ServeUdp, one_session_carries_many_datagrams_and_counts_them) {
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(pass(client, std::to_string(i)), std::to_string(i));
    server.send(server.from, "re " + std::to_string(i));
    ASSERT_EQ(client.receive(), "re " + std::to_string(i));
  }
  EXPECT_EQ(way_out->dials, 1);
  on_loop<int>([this] { return udp->stop(), 0; });
  const auto ends = log.ends();
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].second.reason, EndReason::shutdown);
  EXPECT_EQ(ends[0].second.datagrams_up, 50U);
  EXPECT_EQ(ends[0].second.datagrams_down, 50U);
  EXPECT_EQ(ends[0].second.bytes_up, 90U);
  EXPECT_EQ(ends[0].second.bytes_down, 240U);
  EXPECT_EQ(ends[0].first.way_out, "to-server");
}

TEST_P(ServeUdp, empty_and_largest_datagrams_pass_both_ways) {
  start();
  Peer client(Address::loopback(GetParam()));
  for (const std::string& payload :
       {std::string(), std::string(1472, 'a'), std::string(9000, 'b'), std::string(65'507, 'c')}) {
    ASSERT_EQ(pass(client, payload), payload) << payload.size();
    server.send(server.from, payload);
    ASSERT_EQ(client.receive(), payload) << payload.size();
  }
}

TEST_P(ServeUdp, burst_arrives_in_order_and_whole) {
  start();
  Peer client(Address::loopback(GetParam()));
  std::vector<std::string> sent;
  for (int i = 0; i < 60; ++i) {  // as many as a receive buffer of the default size holds
    sent.push_back(std::string(i % 7 == 0 ? 300 : 1200, static_cast<char>('a' + i % 26)));
    client.send(listener, sent.back());
  }
  for (const auto& payload : sent) ASSERT_EQ(server.receive(), payload);
  for (const auto& payload : sent) server.send(server.from, payload);
  for (const auto& payload : sent) ASSERT_EQ(client.receive(), payload);
}

TEST_P(ServeUdp, datagrams_sent_straight_at_the_listener_go_nowhere) {
  options.own_listeners = {*Endpoint::parse("198.51.100.1:4433"),
                           *Endpoint::parse("[2001:db8::1]:4433")};
  const auto before = counted(Counter::direct_dials_refused);
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 20; ++i) client.send(listener, "hello?");
  EXPECT_TRUE(eventually([&] { return counted(Counter::direct_dials_refused) == before + 20; }));
  EXPECT_EQ(sessions(), 0U);
  EXPECT_EQ(way_out->dials, 0);
  EXPECT_EQ(client.receive(50), std::nullopt);
}

TEST_P(ServeUdp, datagrams_without_an_original_destination_go_nowhere) {
  options.original_destination = [](const msghdr&) { return std::optional<Endpoint>(); };
  const auto before = counted(Counter::udp_datagrams_dropped);
  start();
  Peer client(Address::loopback(GetParam()));
  client.send(listener, "hello?");
  EXPECT_TRUE(eventually([&] { return counted(Counter::udp_datagrams_dropped) > before; }));
  EXPECT_EQ(sessions(), 0U);
}

TEST_P(ServeUdp, our_own_upstream_coming_back_is_refused) {
  start();
  Peer client(Address::loopback(GetParam()));
  guard.opened(client.endpoint());
  const auto before = counted(Counter::loops_refused);
  for (int i = 0; i < 10; ++i) client.send(listener, "round and round");
  EXPECT_TRUE(eventually([&] { return counted(Counter::loops_refused) == before + 10; }));
  EXPECT_EQ(way_out->dials, 0);
}

TEST_P(ServeUdp, way_out_that_cannot_carry_udp_refuses_once_for_each_session) {
  way_out->carries = false;
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 30; ++i) client.send(listener, "datagram");
  EXPECT_TRUE(eventually([&] { return log.ends().size() == 1; }));
  EXPECT_EQ(server.receive(50), std::nullopt);
  EXPECT_EQ(way_out->dials, 0);
  const auto ends = log.ends();
  ASSERT_EQ(ends.size(), 1U);
  EXPECT_EQ(ends[0].second.reason, EndReason::refused);
  EXPECT_EQ(ends[0].second.failure->reason, ConnectReason::unsupported);
}

TEST_P(ServeUdp, failed_dial_is_logged_once_and_tried_again_later) {
  way_out->fails = true;
  options.refused_timeout_ms = 100;
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 10; ++i) client.send(listener, "datagram");
  EXPECT_TRUE(eventually([&] { return log.ends().size() == 1 && sessions() == 0; }));
  EXPECT_EQ(way_out->dials, 1);
  EXPECT_EQ(log.ends()[0].second.failure->reason, ConnectReason::denied);
  client.send(listener, "datagram");
  EXPECT_TRUE(eventually([&] { return way_out->dials == 2; }));
}

TEST_P(ServeUdp, upstream_port_without_a_server_ends_the_session_as_refused) {
  start();
  Peer client(Address::loopback(GetParam()));
  server.close();
  client.send(listener, "anybody there?");
  ASSERT_TRUE(eventually([&] { return log.ends().size() == 1; }));
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::refused);
  EXPECT_EQ(log.ends()[0].second.failure->reason, ConnectReason::refused);
}

TEST_P(ServeUdp, silent_session_ends_as_idle) {
  options.unreplied_timeout_ms = 100;
  options.replied_timeout_ms = 60'000;
  start();
  Peer client(Address::loopback(GetParam()));
  Peer other(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(client, "question"));
  server.send(server.from, "answer");  // this one now lives longer
  ASSERT_TRUE(client.receive());
  ASSERT_TRUE(pass(other, "unanswered"));
  EXPECT_TRUE(eventually([&] { return log.ends().size() == 1; }));
  EXPECT_EQ(log.ends()[0].first.source, other.endpoint());
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::idle);
  EXPECT_EQ(sessions(), 1U);
}

TEST_P(ServeUdp, answered_dns_query_ends_soon_and_as_closed) {
  set_destination(Endpoint{made_up_destination.address, 53});
  options.answered_query_timeout_ms = 100;
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(client, "query"));
  server.send(server.from, "answer");
  ASSERT_TRUE(client.receive());
  EXPECT_TRUE(eventually([&] { return sessions() == 0; }));
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::closed);
}

TEST_P(ServeUdp, late_answer_still_arrives_while_the_session_lives) {
  options.unreplied_timeout_ms = 1000;
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(client, "question"));
  std::this_thread::sleep_for(300ms);
  server.send(server.from, "late answer");
  EXPECT_EQ(client.receive(), "late answer");
}

TEST_P(ServeUdp, datagrams_wait_in_a_bounded_queue_while_it_dials) {
  way_out->dial_ms = 300;
  const auto before = counted(Counter::udp_datagrams_dropped);
  start();
  Peer client(Address::loopback(GetParam()));
  for (int i = 0; i < 40; ++i) client.send(listener, std::to_string(i));
  for (std::size_t i = 0; i < limits::kUdpQueuedDatagrams; ++i) {
    ASSERT_EQ(server.receive(), std::to_string(i));
  }
  EXPECT_EQ(server.receive(50), std::nullopt);
  EXPECT_EQ(counted(Counter::udp_datagrams_dropped) - before, 40 - limits::kUdpQueuedDatagrams);
}

TEST_P(ServeUdp, stop_while_dialling_ends_when_the_loop_is_cancelled) {
  way_out->dial_ms = 60'000;
  start();
  Peer client(Address::loopback(GetParam()));
  client.send(listener, "datagram");
  ASSERT_TRUE(eventually([&] { return way_out->dials == 1; }));
  on_loop<int>([this] { return udp->stop(), 0; });
  EXPECT_EQ(sessions(), 0U);
  loop.loop().post([this] { loop.loop().cancel_all(); });
  EXPECT_EQ(done.wait_for(5s), std::future_status::ready);
  ASSERT_EQ(log.ends().size(), 1U);
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::shutdown);
}

TEST_P(ServeUdp, cancelled_loop_ends_every_session_as_shutdown) {
  start();
  std::vector<std::unique_ptr<Peer>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Peer>(Address::loopback(GetParam())));
    ASSERT_TRUE(pass(*clients.back(), "datagram"));
  }
  loop.loop().post([this] { loop.loop().cancel_all(); });
  ASSERT_EQ(done.wait_for(5s), std::future_status::ready);
  ASSERT_EQ(log.ends().size(), 20U);
  for (const auto& [flow, end] : log.ends()) EXPECT_EQ(end.reason, EndReason::shutdown);
}

TEST_P(ServeUdp, drain_waits_for_the_answer_under_way_and_for_nothing_else) {
  start();
  Peer answered(Address::loopback(GetParam()));
  Peer waiting(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(answered, "question"));
  server.send(server.from, "answer");
  ASSERT_TRUE(answered.receive());
  ASSERT_TRUE(pass(waiting, "question"));
  on_loop<int>([this] { return udp->drain(), 0; });
  EXPECT_EQ(sessions(), 1U);
  server.send(server.from, "late answer");
  EXPECT_EQ(waiting.receive(), "late answer");
  EXPECT_EQ(done.wait_for(10s), std::future_status::ready);
}

TEST_P(ServeUdp, client_over_its_limit_displaces_its_own_oldest) {
  options.most_sessions_per_client = 4;
  start();
  std::vector<std::unique_ptr<Peer>> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(std::make_unique<Peer>(Address::loopback(GetParam())));
    ASSERT_TRUE(pass(*clients.back(), "datagram"));
  }
  EXPECT_EQ(sessions(), 4U);
  const auto ends = log.ends();
  ASSERT_EQ(ends.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(ends[i].first.source, clients[i]->endpoint());
    EXPECT_EQ(ends[i].second.reason, EndReason::evicted);
  }
}

using ServeUdpOnIpv4 = ServeUdp;  // IPv6 has one loopback address: no second client
INSTANTIATE_TEST_SUITE_P(, ServeUdpOnIpv4, testing::Values(Family::ipv4),
                         [](const auto&) { return "ipv4"; });

TEST_P(ServeUdpOnIpv4, full_table_spares_the_modest_client) {
  options.most_sessions = 8;
  start();
  Peer modest(*Address::parse("127.0.0.2"));
  ASSERT_TRUE(pass(modest, "mine"));
  const Endpoint upstream_of_modest = server.from;
  std::vector<std::unique_ptr<Peer>> greedy;
  for (int i = 0; i < 50; ++i) {
    greedy.push_back(std::make_unique<Peer>(*Address::parse("127.0.0.3")));
    ASSERT_TRUE(pass(*greedy.back(), "more"));
  }
  EXPECT_EQ(sessions(), 8U);
  server.send(upstream_of_modest, "still there");
  EXPECT_EQ(modest.receive(), "still there");
}

TEST_P(ServeUdp, descriptors_short_displaces_instead_of_failing) {
  FdBudget budget(40);  // UDP may hold a quarter; one of them is the reply socket
  options.fds = &budget;
  start();
  std::vector<std::unique_ptr<Peer>> clients;
  for (int i = 0; i < 30; ++i) {
    clients.push_back(std::make_unique<Peer>(Address::loopback(GetParam())));
    ASSERT_TRUE(pass(*clients.back(), "datagram"));
    server.send(server.from, "answer");
    ASSERT_TRUE(clients.back()->receive());
  }
  EXPECT_LE(sessions(), 10U);
  on_loop<int>([this] { return udp->stop(), 0; });
  ASSERT_EQ(done.wait_for(5s), std::future_status::ready);
  on_loop<int>([this] { return udp.reset(), 0; });
  EXPECT_TRUE(budget.take(40)) << "descriptors were not given back";
}

TEST_P(ServeUdp, ended_sessions_leave_no_descriptor) {
  options.unreplied_timeout_ms = 100;
  start();
  Peer first(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(first, "datagram"));
  ASSERT_TRUE(eventually([&] { return sessions() == 0; }));
  const int before = open_descriptors();
  for (int i = 0; i < 200; ++i) {
    Peer client(Address::loopback(GetParam()));
    ASSERT_TRUE(pass(client, "datagram"));
  }
  ASSERT_TRUE(eventually([&] { return sessions() == 0; }));
  EXPECT_EQ(open_descriptors(), before);
}

TEST_P(ServeUdp, reply_sockets_are_shared_by_source_and_bounded) {
  options.most_reply_sockets = 2;
  start();
  for (int port = 1000; port < 1006; ++port) {
    set_destination(Endpoint{made_up_destination.address, static_cast<std::uint16_t>(port)});
    for (int i = 0; i < 3; ++i) {
      Peer client(Address::loopback(GetParam()));
      ASSERT_TRUE(pass(client, "question"));
      server.send(server.from, "answer");
      ASSERT_TRUE(client.receive());
    }
    EXPECT_LE(on_loop<std::size_t>([this] { return udp->bound_reply_sockets(); }), 2U);
  }
  EXPECT_EQ(replies->made, 6);
}

TEST_P(ServeUdp, header_of_the_way_out_is_added_and_taken_off) {
  way_out->header = "hdr:";
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_EQ(pass(client, "question"), "hdr:question");
  server.send(server.from, "not for us");
  server.send(server.from, "hdr:answer");
  EXPECT_EQ(client.receive(), "answer");
}

TEST_P(ServeUdp, association_ends_with_its_control_connection) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
  UniqueFd ours(pair[0]);
  UniqueFd proxys(pair[1]);
  way_out->control = &ours;
  start();
  Peer client(Address::loopback(GetParam()));
  ASSERT_TRUE(pass(client, "question"));
  proxys.reset();
  ASSERT_TRUE(eventually([&] { return log.ends().size() == 1; }));
  EXPECT_EQ(log.ends()[0].second.reason, EndReason::upstream_reset);
}

}  // namespace
}  // namespace shunt
