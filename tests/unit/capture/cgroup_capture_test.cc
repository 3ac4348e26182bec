// SPDX-License-Identifier: GPL-2.0-only
// What stays in the kernel, and a listener of the test's own behind the programs. They are attached
// to a cgroup that the test makes, in a network namespace of its own.
#include "capture/cgroup_capture.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "capture/cgroup_listeners.h"
#include "capture/cgroup_processes.h"
#include "kernel/cgroup.h"
#include "kernel/links.h"
#include "net/socket.h"
#include "unit/kernel/in_namespace.h"

namespace shunt {
namespace {

constexpr int kSoOriginalDst = 80;

std::string no_ebpf_because() {
  if (const auto loaded = CaptureProgram::probe(); !loaded) {
    return "needs bpf: " + loaded.error().text();
  }
  const auto own = cgroup_directory();
  if (!own || ::access(own->c_str(), W_OK) != 0) return "needs cgroups: not writable";
  return "";
}

const LetGo* most_specific(const std::vector<LetGo>& all, std::string_view address) {
  const Address wanted = *Address::parse(address);
  const LetGo* best = nullptr;
  for (const LetGo& one : all) {
    const bool longer = best == nullptr || one.network.prefix_length >= best->network.prefix_length;
    if (one.network.contains(wanted) && longer) best = &one;
  }
  return best;
}

TEST(CgroupLetGo, loopback_stays_but_for_its_name_servers) {
  const auto all = cgroup_let_go({*Address::parse("127.0.0.53"), *Address::parse("::1")});
  ASSERT_NE(most_specific(all, "127.0.0.1"), nullptr);
  EXPECT_FALSE(most_specific(all, "127.0.0.1")->but_dns);
  EXPECT_TRUE(most_specific(all, "127.0.0.53")->but_dns);
  EXPECT_TRUE(most_specific(all, "::1")->but_dns);
}

TEST(CgroupLetGo, what_goes_to_many_or_only_to_the_link_stays) {
  const auto all = cgroup_let_go({});
  for (const char* address :
       {"224.0.0.251", "255.255.255.255", "169.254.1.1", "0.0.0.0", "::", "ff02::fb", "fe80::1"}) {
    EXPECT_NE(most_specific(all, address), nullptr) << address;
  }
  for (const char* address : {"203.0.113.9", "2001:db8::9", "10.0.0.1", "fd00::1"}) {
    EXPECT_EQ(most_specific(all, address), nullptr) << address;
  }
}

TEST(CgroupLetGo, own_addresses_stay_but_their_port_53) {
  run_in_test_namespace([](Checks& checks) {
    if (!checks.ok(set_link_up("lo"), "lo")) return;
    if (!checks.ok(add_address("lo", *Address::parse("192.0.2.1"), 24), "address")) return;
    const auto all = cgroup_let_go({});
    const LetGo* const own = most_specific(all, "192.0.2.1");
    checks.that(own != nullptr && own->but_dns, "the address itself");
    const LetGo* const broadcast = most_specific(all, "192.0.2.255");
    checks.that(broadcast != nullptr && !broadcast->but_dns, "the broadcast address");
    checks.that(most_specific(all, "192.0.2.2") == nullptr, "a neighbour");
  });
}

/// A capture of a cgroup that this process is in for as long as it lives.
struct Captured {
  explicit Captured(Checks& checks) {
    const auto own = cgroup_directory();
    if (!checks.ok(own, "own cgroup")) return;
    home = *own;
    auto made = Cgroup::create(home, "test");
    if (!checks.ok(made, "cgroup")) return;
    cgroup.emplace(std::move(*made));
    HostNetwork host;
    host.ipv4.source = Address::parse("192.0.2.1");
    host.ipv6.source = Address::parse("2001:db8::1");
    auto loaded = CgroupCapture::create({.host = host});
    if (!checks.ok(loaded, "capture")) return;
    capture.emplace(std::move(*loaded));
    origins = capture->origins();
    if (!checks.ok(capture->attach(cgroup->directory()), "attach")) return;
    ready = checks.ok(move_to_cgroup(0, cgroup->directory()), "enter");
  }
  ~Captured() {
    if (cgroup) (void)move_to_cgroup(0, home);
    capture.reset();
  }

  std::string home;
  std::optional<Cgroup> cgroup;
  std::optional<CgroupCapture> capture;
  std::shared_ptr<Origins> origins;
  bool ready = false;
};

void in_captured_namespace(const std::function<void(Checks&, Captured&)>& body) {
  if (const auto reason = no_ebpf_because(); !reason.empty()) GTEST_SKIP() << reason;
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([&](Checks& checks) {
    if (!checks.ok(set_link_up("lo"), "lo")) return;
    Captured captured(checks);
    if (captured.ready) body(checks, captured);
  });
}

int blocking_connect(Family family, SocketType type, const Endpoint& to, Endpoint& from) {
  const int fd = ::socket(family == Family::ipv4 ? AF_INET : AF_INET6,
                          type == SocketType::stream ? SOCK_STREAM : SOCK_DGRAM, 0);
  const SocketAddress address(to, family);
  if (::connect(fd, address.get(), address.size()) != 0) {
    const int failed = -errno;
    ::close(fd);
    return failed;
  }
  from = local_endpoint(fd).value_or(Endpoint{});
  return fd;
}

int blocking_connect_again(int fd, const Endpoint& to) {
  const SocketAddress address(to);
  return ::connect(fd, address.get(), address.size());
}

/// The address at which the next datagram arrived.
std::optional<Endpoint> receive_at(int listener) {
  std::array<char, 8> data{};
  alignas(cmsghdr) std::array<char, 256> control{};
  iovec vector{.iov_base = data.data(), .iov_len = data.size()};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(listener, &message, 0) != 1) return std::nullopt;
  return datagram_destination(message);
}

TEST(CgroupCapture, connection_is_remembered_until_it_is_asked_for) {
  in_captured_namespace([](Checks& checks, Captured& captured) {
    for (const char* to : {"203.0.113.9:80", "[2001:db8::9]:80"}) {
      const Endpoint wanted = *Endpoint::parse(to);
      Endpoint from;
      const int fd = blocking_connect(wanted.address.family(), SocketType::stream, wanted, from);
      checks.that(fd >= 0, "connect");
      checks.that(peer_endpoint(fd).value_or(Endpoint{}) == wanted, "getpeername");
      const Endpoint client{.address = Address::loopback(wanted.address.family()),
                            .port = from.port};
      const auto origin = captured.origins->of_connection(client);
      checks.that(origin && origin->destination == wanted, "destination");
      checks.that(origin && origin->process->pid == ::getpid(), "process");
      checks.that(origin && origin->process->uid == ::geteuid(), "user");
      checks.that(!captured.origins->of_connection(client), "only once");
      ::close(fd);
    }
    checks.that(captured.capture->program().entries() == 0, "nothing left");
  });
}

TEST(CgroupCapture, entries_of_datagrams_go_with_their_sockets) {
  in_captured_namespace([](Checks& checks, Captured& captured) {
    std::vector<int> fds;
    Endpoint from;
    for (int i = 0; i < 50; ++i) {
      const Endpoint to = *Endpoint::parse("203.0.113.9:53");
      fds.push_back(blocking_connect(Family::ipv4, SocketType::datagram, to, from));
      (void)blocking_connect_again(fds.back(), *Endpoint::parse("203.0.113.8:53"));
      fds.push_back(::socket(AF_INET, SOCK_DGRAM, 0));
      const SocketAddress address(to);
      (void)::sendto(fds.back(), "x", 1, 0, address.get(), address.size());
    }
    checks.that(captured.capture->program().entries() == 100, "all are there");
    for (const int fd : fds) ::close(fd);
    checks.that(captured.capture->program().entries() == 0, "none is");
  });
}

TEST(CgroupCapture, entry_of_a_connection_waits_for_the_listener_and_not_for_the_client) {
  in_captured_namespace([](Checks& checks, Captured& captured) {
    const Endpoint to = *Endpoint::parse("203.0.113.9:80");
    Endpoint client;
    const int fd = blocking_connect(Family::ipv4, SocketType::stream, to, client);
    client.address = Address::loopback(Family::ipv4);
    reset_on_close(fd);
    ::close(fd);
    const auto origin = captured.origins->of_connection(client);
    checks.that(origin && origin->destination == to, "still known");
    checks.that(captured.capture->program().entries() == 0, "nothing left");
    captured.capture->listeners().workers.clear();
    Endpoint none;
    checks.that(blocking_connect(Family::ipv4, SocketType::stream, to, none) == -ECONNREFUSED,
                "nobody listens");
    checks.that(captured.capture->program().entries() == 0, "an attempt leaves nothing");
  });
}

TEST(CgroupCapture, datagram_of_a_closed_socket_is_still_known) {
  in_captured_namespace([](Checks& checks, Captured& captured) {
    const Endpoint to = *Endpoint::parse("203.0.113.9:514");
    const int listener = captured.capture->listeners().workers.front().udp[0].get();
    for (const bool connected : {false, true}) {
      Endpoint from;
      const SocketAddress address(to);
      const int fd = connected ? blocking_connect(Family::ipv4, SocketType::datagram, to, from)
                               : ::socket(AF_INET, SOCK_DGRAM, 0);
      const sockaddr* const named = connected ? nullptr : address.get();
      checks.that(::sendto(fd, "x", 1, 0, named, connected ? 0 : address.size()) == 1, "sent");
      ::close(fd);
      const auto at = receive_at(listener);
      checks.that(at.has_value(), "its address");
      const auto origin = at ? captured.origins->of_datagram(*at) : std::nullopt;
      checks.that(origin && origin->destination == to, "its destination");
    }
  });
}

TEST(CgroupCapture, datagrams_arrive_at_an_address_for_each_destination) {
  in_captured_namespace([](Checks& checks, Captured& captured) {
    for (const Family family : {Family::ipv4, Family::ipv6}) {
      const bool v4 = family == Family::ipv4;
      const int fd = ::socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
      const auto& listeners = captured.capture->listeners().workers.front().udp;
      const int listener = listeners[v4 ? 0 : 1].get();
      for (const int port : {53, 123, 53}) {
        const Endpoint to{.address = *Address::parse(v4 ? "203.0.113.9" : "2001:db8::9"),
                          .port = static_cast<std::uint16_t>(port)};
        const SocketAddress address(to);
        checks.that(::sendto(fd, "x", 1, 0, address.get(), address.size()) == 1, "sendto");
        const auto at = receive_at(listener);
        checks.that(at.has_value(), "its address");
        const auto origin = at ? captured.origins->of_datagram(*at) : std::nullopt;
        checks.that(origin && origin->destination == to, "its destination");
      }
      ::close(fd);
    }
  });
}

TEST(CgroupCapture, family_that_the_host_does_not_reach_is_unreachable) {
  in_captured_namespace([](Checks& checks, Captured& captured) {
    HostNetwork host;
    host.ipv4.source = Address::parse("192.0.2.1");
    captured.capture->change_network(host);
    Endpoint from;
    const Endpoint to = *Endpoint::parse("[2001:db8::9]:80");
    checks.that(blocking_connect(Family::ipv6, SocketType::stream, to, from) == -ENETUNREACH,
                "ENETUNREACH");
  });
}

TEST(CgroupCapture, foreign_listener_in_the_cgroup_asks_for_the_original_destination) {
  in_captured_namespace([](Checks& checks, Captured& captured) {
    Endpoint from;
    const Endpoint to = *Endpoint::parse("203.0.113.9:8080");
    // Ours was made before we came into the cgroup.
    const Endpoint front = captured.capture->listeners().own.front();
    captured.capture->listeners().workers.clear();
    const auto listener = make_socket(Family::ipv4, SocketType::stream);
    checks.ok(bind_to(listener->get(), front), "bind");
    checks.that(::listen(listener->get(), 1) == 0, "listen");
    const int client = blocking_connect(Family::ipv4, SocketType::stream, to, from);
    const int accepted = ::accept(listener->get(), nullptr, nullptr);
    sockaddr_storage storage{};
    socklen_t size = sizeof(sockaddr_in);
    checks.that(::getsockopt(accepted, SOL_IP, kSoOriginalDst, &storage, &size) == 0, "getsockopt");
    checks.that(Endpoint::from(storage) == to, "the destination");
    ::close(accepted);
    ::close(client);
  });
}

TEST(CgroupCapture, after_its_end_everything_is_direct_again) {
  in_captured_namespace([](Checks& checks, Captured& captured) {
    captured.origins.reset();
    captured.capture.reset();
    Endpoint from;
    const Endpoint to = *Endpoint::parse("203.0.113.9:80");
    checks.that(blocking_connect(Family::ipv4, SocketType::stream, to, from) == -ENETUNREACH,
                "no route, as without shunt");
  });
}

TEST(CgroupCapture, only_the_selected_are_captured) {
  if (const auto reason = no_ebpf_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_in_test_namespace([](Checks& checks) {
    if (!checks.ok(set_link_up("lo"), "lo")) return;
    const auto home = cgroup_directory();
    auto cgroup = Cgroup::create(home.value_or(""), "test");
    HostNetwork host;
    host.ipv4.source = Address::parse("192.0.2.1");
    auto capture = CgroupCapture::create(
        {.host = host, .selection = {.whom = SelectingProgram::Whom::selected}});
    if (!checks.ok(cgroup, "cgroup") || !checks.ok(capture, "capture")) return;
    checks.ok(capture->attach(cgroup->directory()), "attach");
    checks.ok(move_to_cgroup(0, cgroup->directory()), "enter");
    const auto works = [] {
      Endpoint from;
      const int fd = blocking_connect(Family::ipv4, SocketType::stream,
                                      *Endpoint::parse("203.0.113.9:80"), from);
      if (fd >= 0) ::close(fd);
      return fd >= 0;
    };
    using By = CaptureProgram::SelectBy;
    CaptureProgram& program = capture->program();
    checks.that(!works(), "nobody is selected");
    const auto own = static_cast<std::uint64_t>(::getpid());
    checks.ok(program.select(By::process, own, false), "select");
    checks.that(works(), "selected by process");
    checks.ok(program.select(By::uid, ::geteuid(), true), "leave alone");
    checks.that(!works(), "left alone by user");
    program.unselect(By::uid, ::geteuid());
    checks.that(works(), "no more");
    checks.ok(move_to_cgroup(0, *home), "leave");
  });
}

TEST(CgroupProcesses, process_that_is_gone_is_known_by_what_the_kernel_saw) {
  CgroupProcesses processes;
  Flow flow;
  EXPECT_FALSE(processes.lookup(flow));
  EXPECT_EQ(processes.find(flow, ProcessFinder::Wanted::all).state, FactState::never);
  flow.process = std::make_shared<const ClientProcess>(ClientProcess{
      .pid = 0x7fff'fff0, .thread = 0x7fff'fff1, .uid = 1234, .gid = 99, .name = "gone"});
  ASSERT_TRUE(processes.lookup(flow));
  EXPECT_EQ(processes.lookup(flow)->name, "gone");
  const ProcessFact fact = processes.find(flow, ProcessFinder::Wanted::all);
  EXPECT_EQ(fact.state, FactState::known);
  EXPECT_EQ(fact.name, "gone");
  EXPECT_EQ(fact.uid, 1234U);
  EXPECT_EQ(fact.gid, 99U);
  EXPECT_FALSE(fact.exe);
}

TEST(CgroupProcesses, thread_has_the_name_of_its_process) {
  CgroupProcesses processes;
  Flow flow;
  flow.process = std::make_shared<const ClientProcess>(
      ClientProcess{.pid = ::getpid(), .thread = ::getpid() + 1, .name = "a thread"});
  ASSERT_TRUE(processes.lookup(flow));
  EXPECT_EQ(processes.lookup(flow)->name, "capture_test");
}

}  // namespace
}  // namespace shunt
