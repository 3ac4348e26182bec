// SPDX-License-Identifier: GPL-2.0-only
#include "egress/direct.h"

#include <gmock/gmock.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <cstring>
#include <fstream>
#include <map>
#include <thread>

#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;
using testing::ElementsAre;

using TcpResult = std::expected<Upstream, ConnectFailure>;
using UdpResult = std::expected<UdpUpstream, ConnectFailure>;

struct CountingObserver : UpstreamObserver {
  void opening() override { ++begun; }
  void not_opened() override { ++failed; }
  int begun = 0;
  int failed = 0;
  void opened(const Endpoint& local, const Endpoint& /*remote*/) override {
    ++live[local], ++total;
  }
  void closed(const Endpoint& local, const Endpoint& /*remote*/) override { --live[local]; }
  [[nodiscard]] int open_now() const {
    int sum = 0;
    for (const auto& [endpoint, count] : live) sum += count;
    return sum;
  }
  std::map<Endpoint, int> live;
  int total = 0;
};

Endpoint closed_port(Family family) {
  auto fd = make_socket(family, SocketType::stream);
  if (!fd || !bind_to(fd->get(), {Address::loopback(family), 0})) return {};
  return local_endpoint(fd->get()).value_or(Endpoint{});  // bound, not listening, then closed
}

class DirectOn : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    if (closed_port(GetParam()).port == 0) GTEST_SKIP() << "this machine has no ::1";
  }
  Stage stage_;
  Hints hints_;
};
INSTANTIATE_TEST_SUITE_P(, DirectOn, testing::Values(Family::ipv4, Family::ipv6),
                         [](const auto& family) {
                           return family.param == Family::ipv4 ? "ipv4" : "ipv6";
                         });

TEST_P(DirectOn, reaches_a_listener) {
  FakePeer peer(stage_, {{expect("hello")}}, GetParam());
  const auto direct = make_direct({.mark = 0x5});
  const Flow flow = flow_to(peer.address());
  struct Say {
    static Task<TcpResult> hello(EventLoop& loop, const WayOut& out, const Flow& to,
                                 const Hints& hints) {
      auto upstream = co_await out.connect(loop, to, hints);
      if (upstream) ::send(upstream->socket.fd(), "hello", 5, MSG_NOSIGNAL);
      co_return upstream;
    }
  };
  const auto upstream = stage_.run(Say::hello(stage_.loop(), *direct, flow, hints_), peer.serve());
  ASSERT_TRUE(upstream.has_value());
  EXPECT_EQ(peer_endpoint(upstream->socket.fd()).value(), peer.address());
  EXPECT_TRUE(upstream->socket.slot().has(Slot::kWritable));
  EXPECT_FALSE(upstream->socket.slot().has(Slot::kFailed | Slot::kPeerClosed));
}

TEST_P(DirectOn, says_that_a_closed_port_refuses) {
  const auto direct = make_direct({});
  const Flow flow = flow_to(closed_port(GetParam()));
  const auto upstream = stage_.run(direct->connect(stage_.loop(), flow, hints_));
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::refused);
  EXPECT_EQ(upstream.error().os_error, ECONNREFUSED);
}

TEST_P(DirectOn, udp_is_a_connected_socket_without_a_header) {
  auto server = make_socket(GetParam(), SocketType::datagram);
  ASSERT_TRUE(server && bind_to(server->get(), {Address::loopback(GetParam()), 0}));
  const auto direct = make_direct({});
  const Flow flow = flow_to(*local_endpoint(server->get()), Protocol::udp);
  const auto upstream = stage_.run(direct->associate(stage_.loop(), flow));
  ASSERT_TRUE(upstream.has_value());
  EXPECT_EQ(upstream->header, "");
  EXPECT_TRUE(upstream->controls.empty());
  EXPECT_EQ(upstream->unwrap(*upstream, "abc"), "abc");
  ASSERT_EQ(::send(upstream->socket.fd(), "ping", 4, 0), 4);
  char buffer[16];
  EXPECT_EQ(::recv(server->get(), buffer, sizeof buffer, 0), 4);
}

/// A port that is free for UDP, on every address.
std::uint16_t free_port(Family family) {
  const auto probe = make_socket(family, SocketType::datagram);
  if (!probe || !bind_to(probe->get(), {Address::any(family), 0})) return 0;
  return local_endpoint(probe->get()).value_or(Endpoint{}).port;
}

TEST_P(DirectOn, a_mapping_has_the_clients_port_where_it_is_free_and_else_its_parity) {
  const auto direct = make_direct({});
  ASSERT_TRUE(direct->maps_clients());
  Flow flow = flow_to({Address::loopback(GetParam()), 9}, Protocol::udp);
  flow.source.port = free_port(GetParam());
  const auto first = stage_.run(direct->open_mapping(stage_.loop(), flow));
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(local_endpoint(first->socket.fd())->port, flow.source.port);
  Stage second_stage;
  const auto second = second_stage.run(direct->open_mapping(second_stage.loop(), flow));
  ASSERT_TRUE(second.has_value());
  const std::uint16_t other = local_endpoint(second->socket.fd())->port;
  EXPECT_NE(other, flow.source.port);
  EXPECT_EQ(other % 2, flow.source.port % 2);
}

TEST_P(DirectOn, a_mapping_leaves_the_ports_of_daemons_alone) {
  const auto direct = make_direct({});
  Flow flow = flow_to({Address::loopback(GetParam()), 9}, Protocol::udp);
  flow.source.port = 123;
  const auto mapping = stage_.run(direct->open_mapping(stage_.loop(), flow));
  ASSERT_TRUE(mapping.has_value());
  EXPECT_GE(local_endpoint(mapping->socket.fd())->port, 1024);
  EXPECT_FALSE(peer_endpoint(mapping->socket.fd()).has_value()) << "it is not connected";
}

TEST(Direct, tells_the_observer_of_each_socket_and_of_its_end) {
  CountingObserver observer;
  const auto direct = make_direct({.observer = &observer});
  const Flow to_nobody = flow_to(closed_port(Family::ipv4));
  const Hints hints;
  {
    Stage stage;
    FakePeer peer(stage, {{}});
    const Flow flow = flow_to(peer.address());
    const auto upstream = stage.run(direct->connect(stage.loop(), flow, hints), peer.serve());
    ASSERT_TRUE(upstream.has_value());
    EXPECT_EQ(observer.live.at(*local_endpoint(upstream->socket.fd())), 1);
  }
  EXPECT_EQ(observer.open_now(), 0);
  Stage stage;
  EXPECT_FALSE(stage.run(direct->connect(stage.loop(), to_nobody, hints)).has_value());
  EXPECT_EQ(observer.total, 2);
  EXPECT_EQ(observer.open_now(), 0);
}

// A listener whose accept queue is full drops further SYNs (tcp_conn_request, net/ipv4), which
// looks like a silent host.
struct SilentListener {
  SilentListener() {
    listener = std::move(*make_socket(Family::ipv4, SocketType::stream));
    (void)bind_to(listener.get(), {Address::loopback(Family::ipv4), 0});
    ::listen(listener.get(), 0);
    address = *local_endpoint(listener.get());
    const SocketAddress to(address);
    for (auto& filler : fillers) {
      filler = std::move(*make_socket(Family::ipv4, SocketType::stream));
      (void)::connect(filler.get(), to.get(), to.size());
    }
  }
  UniqueFd listener;
  std::array<UniqueFd, 4> fillers;
  Endpoint address;
};

TEST(Direct, gives_up_on_a_silent_host_at_its_deadline) {
  const SilentListener silent;
  Stage stage;
  const auto direct = make_direct({.connect_timeout_ms = 100});
  const Flow flow = flow_to(silent.address);
  const auto before = Clock::now();
  const auto upstream = stage.run(direct->connect(stage.loop(), flow, {}));
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::timed_out);
  EXPECT_GE(Clock::now() - before, std::chrono::milliseconds(100));
}

Task<> cancel_all_soon(EventLoop& loop) {
  const Wake ignored = co_await loop.sleep(1);
  (void)ignored;
  loop.cancel_all();
}

TEST(Direct, a_dial_ends_when_shunt_stops) {
  const SilentListener silent;
  Stage stage;
  const auto direct = make_direct({});
  const Flow flow = flow_to(silent.address);
  const auto upstream =
      stage.run(direct->connect(stage.loop(), flow, {}), cancel_all_soon(stage.loop()));
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::cancelled);
}

TEST(Direct, link_local_without_a_scope_is_an_unreachable_network) {
  Stage stage;
  const auto direct = make_direct({});
  const Flow flow = flow_to({*Address::parse("fe80::1"), 9});
  const auto upstream = stage.run(direct->connect(stage.loop(), flow, {}));
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::network_unreachable);
}

// A network namespace of its own for this thread, its loopback up. False without CAP_SYS_ADMIN.
bool enter_namespace() {
  if (::unshare(CLONE_NEWNET) != 0) return false;
  auto fd = make_socket(Family::ipv4, SocketType::datagram);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  return fd && ::ioctl(fd->get(), SIOCSIFFLAGS, &request) == 0;
}

void leave_one_local_port(int port) {
  std::ofstream range("/proc/sys/net/ipv4/ip_local_port_range");
  range << port << " " << port << std::flush;
  EXPECT_TRUE(range.good());
}

void expect_failure(const TcpResult& result, ConnectReason reason, int os_error) {
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().reason, reason);
  EXPECT_EQ(result.error().os_error, os_error);
}

void connect_with_one_local_port(bool& entered) {
  entered = enter_namespace();
  if (!entered) return;
  const auto direct = make_direct({});
  Stage first;
  FakePeer peer(first, {{}});
  leave_one_local_port(40001);
  const Flow itself = flow_to({Address::loopback(Family::ipv4), 40001});
  const Flow flow = flow_to(peer.address());

  Stage second;
  expect_failure(second.run(direct->connect(second.loop(), itself, {})), ConnectReason::refused,
                 ECONNREFUSED);
  const auto holder = first.run(direct->connect(first.loop(), flow, {}), peer.serve());
  EXPECT_TRUE(holder.has_value());
  Stage third;
  expect_failure(third.run(direct->connect(third.loop(), flow, {})), ConnectReason::resources,
                 EADDRNOTAVAIL);
}

TEST(Direct, says_so_when_no_local_port_is_free_and_never_connects_to_itself) {
  bool entered = false;
  std::thread(connect_with_one_local_port, std::ref(entered)).join();
  if (!entered) GTEST_SKIP() << "a network namespace of its own needs CAP_SYS_ADMIN";
}

TEST(FailureFromErrno, keeps_apart_what_a_client_would_see) {
  const std::map<int, ConnectReason> expected = {
      {ECONNREFUSED, ConnectReason::refused},
      {EHOSTUNREACH, ConnectReason::host_unreachable},
      {EACCES, ConnectReason::host_unreachable},
      {ENETUNREACH, ConnectReason::network_unreachable},
      {EAFNOSUPPORT, ConnectReason::network_unreachable},
      {ETIMEDOUT, ConnectReason::timed_out},
      {ECONNRESET, ConnectReason::reset},
      {EADDRNOTAVAIL, ConnectReason::resources},
      {EMFILE, ConnectReason::resources},
      {ENOBUFS, ConnectReason::resources},
  };
  for (const auto& [error, reason] : expected) {
    EXPECT_EQ(failure_from_errno(error).reason, reason) << strerror(error);
    EXPECT_EQ(failure_from_errno(error).os_error, error);
  }
}

}  // namespace
}  // namespace shunt
