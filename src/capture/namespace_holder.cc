// SPDX-License-Identifier: GPL-2.0-only
#include "capture/namespace_holder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/netlink.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "base/error_record.h"
#include "capture/hold.h"
#include "capture/host_network_record.h"
#include "capture/namespace_rules.h"
#include "capture/reply_sockets.h"
#include "kernel/capabilities.h"
#include "kernel/links.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "kernel/packet_queue.h"
#include "kernel/policy_route.h"
#include "kernel/sysctl.h"
#include "net/fd_passing.h"

namespace shunt {
namespace {

// What a fresh namespace has at the kernel's default but programs see: below which port one has to
// be root, and where ephemeral ports come from.
constexpr std::array<std::string_view, 2> kMirroredSysctls = {"net/ipv4/ip_unprivileged_port_start",
                                                              "net/ipv4/ip_local_port_range"};

constexpr std::size_t kMostWords = 1000;  // of a reason

using SysctlValues = std::array<std::string, kMirroredSysctls.size()>;

SysctlValues read_mirrored_sysctls() {
  SysctlValues values;
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = read_sysctl(kMirroredSysctls[i]).value_or("");
  }
  return values;
}

// Not worth failing for.
void mirror_sysctls(const SysctlValues& outside) {
  const SysctlValues inside = read_mirrored_sysctls();
  for (std::size_t i = 0; i < outside.size(); ++i) {
    if (outside[i].empty() || outside[i] == inside[i]) continue;
    (void)write_sysctl(kMirroredSysctls[i], outside[i]);
  }
}

RouteSpec local_route(Family family, const Destinations& to, const Address& source) {
  return {.family = family,
          .type = RouteType::local,
          .destination = to.address,
          .prefix_length = to.prefix_length,
          .interface = "lo",
          .gateway = {},
          .preferred_source = source};
}

/// Leaves addresses where they are: sockets may be bound to them, and do no harm.
Result<void> change_family(Family family, const HostFamily& from, const HostFamily& to) {
  if (from == to) return {};
  for (const auto& route : from.routes) {
    SHUNT_CHECK(delete_route(local_route(family, route, *from.source)));
  }
  if (!to.source) return {};
  SHUNT_CHECK(add_address("lo", *to.source, family == Family::ipv4 ? 32 : 128));
  for (const auto& route : to.routes) {
    SHUNT_CHECK(add_route(local_route(family, route, *to.source)));
  }
  return {};
}

Result<void> change_network(const HostNetwork& from, const HostNetwork& to) {
  SHUNT_CHECK(change_family(Family::ipv4, from.ipv4, to.ipv4));
  return change_family(Family::ipv6, from.ipv6, to.ipv6);
}

Result<UniqueFd> open_own(const char* path) {
  UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Failure(errno_error(fmt::format("open {}", path)));
  return fd;
}

Result<UniqueFd> open_diag_socket() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd.valid()) return Failure(errno_error("socket(NETLINK_SOCK_DIAG)"));
  return fd;
}

std::string user_namespace_id() {
  std::array<char, 64> link{};
  const auto size = ::readlink("/proc/self/ns/user", link.data(), link.size());
  return {link.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

struct Made {
  Listeners listeners;
  std::vector<UniqueFd> queue_sockets;
  std::optional<HoldSpec> hold;
  std::string why_not_held;
  NamespaceDoor door;
  UniqueFd diag_socket;
};

Result<void> load_rules(NftContext& context, const CaptureNamespaceOptions& options,
                        const std::optional<HoldSpec>& hold, std::string_view before = "") {
  static_cast<void>(
      SHUNT_TRY(context.run(fmt::format("{}{}", before, capture_namespace_rules(options, hold)))));
  if (!hold) return {};
  return hold::append_queue_rules(context, "shunt", *hold);
}

constexpr std::string_view kInPlaceOfOthers =
    "add table inet shunt\ndelete table inet shunt\n";  // there or not

/// By the target of iptables, by nft's own `queue`, or not at all: what is tried is what is wanted.
/// In this order, since a kernel without the expression has modprobe look for it first, twice, each
/// time that it is tried (some 30 ms), and every `shunt run` does.
Result<void> install_held(NftContext& context, const CaptureNamespaceOptions& options, Made& made) {
  const HoldMarks marks = kNamespaceHoldMarks.hold();
  for (const bool by_target : {true, false}) {
    if (!options.hold) break;
    const HoldSpec hold{.marks = marks,
                        .first_queue = 0,
                        .queues = std::min(options.workers, marks.most_workers),
                        .by_target = by_target};
    const auto loaded = load_rules(context, options, hold, kInPlaceOfOthers);
    if (loaded) {
      made.hold = hold;
      made.why_not_held.clear();
      return {};
    }
    made.why_not_held = loaded.error().text();
  }
  return load_rules(context, options, {}, kInPlaceOfOthers);
}

/// Clears options.shares_udp where the kernel cannot do that.
Result<void> install_rules(CaptureNamespaceOptions& options, Made& made) {
  auto context = SHUNT_TRY(NftContext::create());
  auto installed = install_held(context, options, made);
  if (installed || udp_listeners(options) == 1) return installed;
  options.shares_udp = false;
  return install_held(context, options, made);
}

Result<void> make_queue_sockets(Made& made) {
  for (unsigned i = 0; made.hold && i < made.hold->queues; ++i) {
    made.queue_sockets.push_back(SHUNT_TRY(PacketQueue::make_socket()));
  }
  return {};
}

Result<Made> make_namespace(CaptureNamespaceOptions& options) {
  const SysctlValues sysctls = read_mirrored_sysctls();
  const std::string user_before = user_namespace_id();
  SHUNT_CHECK(enter_network_namespace());
  SHUNT_CHECK(set_link_up("lo"));  // brings 127.0.0.1/8 and ::1 with it
  SHUNT_CHECK(change_network({}, options.host));
  mirror_sysctls(sysctls);
  Made made;
  SHUNT_CHECK(install_rules(options, made));
  SHUNT_CHECK(make_queue_sockets(made));
  made.listeners = SHUNT_TRY(make_listeners({.workers = options.workers,
                                             .mark = kNamespaceMark,
                                             .udp_listeners = udp_listeners(options),
                                             .port = kNamespaceListenPort,
                                             .hold = made.hold ? made.hold->marks : HoldMarks{}}));
  made.diag_socket = SHUNT_TRY(open_diag_socket());
  made.door.network = SHUNT_TRY(open_own("/proc/self/ns/net"));
  if (user_namespace_id() != user_before) {
    made.door.user = SHUNT_TRY(open_own("/proc/self/ns/user"));
  }
  return made;
}

Result<void> hand_over(int channel, const Made& made) {
  std::vector<int> fds{made.diag_socket.get(), made.door.network.get()};
  if (made.door.user.valid()) fds.push_back(made.door.user.get());
  const std::string ready{kReady, made.listeners.ipv6 ? '6' : '4'};
  SHUNT_CHECK(send_record(channel, ready + made.why_not_held.substr(0, kMostWords), fds));
  for (std::size_t i = 0; i < made.listeners.workers.size(); ++i) {
    const ListenerSet& set = made.listeners.workers[i];
    fds.clear();
    const bool queue = i < made.queue_sockets.size();
    if (queue) fds.push_back(made.queue_sockets[i].get());
    for (const auto& fd : set.tcp) fds.push_back(fd.get());
    for (const auto& fd : set.udp) fds.push_back(fd.get());
    const std::string letters{kListeners, queue ? kWithQueue : kWithoutQueue};
    SHUNT_CHECK(send_record(channel, letters, fds));
  }
  return {};
}

Result<std::vector<UniqueFd>> make_reply_sockets(const SocketRequest& request) {
  const Family family = request.family == '6' ? Family::ipv6 : Family::ipv4;
  std::vector<UniqueFd> made;
  for (unsigned i = 0; i < request.count; ++i) {
    auto fd = request.type == 'r' ? make_unbound_raw_reply_socket(family, kNamespaceMark)
                                  : make_unbound_reply_socket(family, kNamespaceMark);
    if (!fd && !made.empty()) break;  // some are better than none
    if (!fd) return Failure(std::move(fd).error());
    made.push_back(std::move(*fd));
  }
  return made;
}

Result<void> answer_sockets(int channel, std::string_view body) {
  SocketRequest request{};
  if (body.size() != sizeof request) return Failure(errno_error("a request for sockets", EPROTO));
  std::memcpy(&request, body.data(), sizeof request);
  const auto made = SHUNT_TRY(make_reply_sockets(request));
  std::vector<int> fds;
  fds.reserve(made.size());
  for (const auto& fd : made) fds.push_back(fd.get());
  return send_record(channel, {&kSockets, 1}, fds);
}

struct Held {
  CaptureNamespaceOptions options;
  std::optional<HoldSpec> hold;
};

Result<void> answer_change(int channel, std::string_view body, Held& held) {
  auto host = host_network_from_record(body);
  if (!host) return Failure(errno_error("a change of the network", EPROTO));
  SHUNT_CHECK(change_network(held.options.host, *host));
  held.options.host = std::move(*host);
  // One transaction: there is no moment without rules.
  auto context = SHUNT_TRY(NftContext::create());
  SHUNT_CHECK(load_rules(context, held.options, held.hold, "delete table inet shunt\n"));
  return send_record(channel, {&kChanged, 1});
}

Result<void> answer(int channel, std::string_view request, Held& held) {
  const char letter = request.front();
  request.remove_prefix(1);
  return letter == kChangeNetwork ? answer_change(channel, request, held)
                                  : answer_sockets(channel, request);
}

void serve_requests(int channel, Held held) {
  while (true) {
    const auto record = receive_record(channel);
    if (!record || record->bytes.empty()) return;
    const auto done = answer(channel, record->bytes, held);
    if (!done && !send_record(channel, kFailed + error_record(done.error()))) return;
  }
}

// It must not keep anything of its maker's alive, above all no pipe that somebody waits to close,
// and must not be stopped or ended by what the terminal sends to the command.
void detach(UniqueFd& channel) {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int fd = 0; null.valid() && fd <= 2; ++fd) ::dup2(null.get(), fd);
  const auto kept = static_cast<unsigned>(channel.get());
  if (kept > 3) ::close_range(3, kept - 1, 0);
  ::close_range(kept + 1, ~0U, 0);
  (void)null.release();  // closed just now
  [[maybe_unused]] const int ignored = ::chdir("/");
}

}  // namespace

void hold_namespace(UniqueFd channel, CaptureNamespaceOptions options) {
  detach(channel);
  ::prctl(PR_SET_NAME, "run-holder");
  Held held{.options = std::move(options), .hold = {}};
  {
    const auto made = make_namespace(held.options);
    if (!made) {
      (void)send_record(channel.get(), kFailed + error_record(made.error()));
      ::_exit(1);
    }
    if (!hand_over(channel.get(), *made)) ::_exit(1);
    held.hold = made->hold;
  }
  // Its /proc/PID belongs to root from here on: the command, which has the same uid, finds no way
  // in there. (The kernel refuses it anyhow: the holder's user namespace is not the command's.)
  (void)forbid_dumps();
  (void)gain_no_privileges();
  serve_requests(channel.get(), std::move(held));
  ::_exit(0);
}

}  // namespace shunt
