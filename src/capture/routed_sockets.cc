// SPDX-License-Identifier: GPL-2.0-only
#include "capture/routed_sockets.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <expected>
#include <utility>

#include "base/error_numbers.h"
#include "base/units.h"
#include "kernel/sysctl.h"
#include "kernel/text_file.h"
#include "net/socket.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24  // linux/in.h
#endif

namespace shunt {
namespace {

constexpr int kTypeFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;
constexpr std::uint32_t kFirstUnprivilegedPort = 1024;

/// Of who asks for a socket.
struct Asker {
  uid_t user = 0;  ///< for the file system, which is what a socket's owner is
  gid_t group = 0;
  bool may_have_raw = false;
};

/// Number `index` of a line of proc_pid_status(5): "Uid:\t0\t0\t0\t0".
template <class T>
std::optional<T> field_of(std::string_view status, std::string_view name, int index, int base) {
  const auto line = status.find(fmt::format("\n{}:", name));
  if (line == std::string_view::npos) return std::nullopt;
  status.remove_prefix(line + name.size() + 2);
  for (int skipped = 0; skipped <= index; ++skipped) {
    const auto digit = status.find_first_not_of(skipped == 0 ? "\t " : "0123456789");
    if (digit == std::string_view::npos) return std::nullopt;
    status.remove_prefix(digit);
    if (skipped > 0) status.remove_prefix(std::min(status.find_first_not_of("\t "), status.size()));
  }
  T value{};
  const auto read = std::from_chars(status.data(), status.data() + status.size(), value, base);
  if (read.ec != std::errc{}) return std::nullopt;
  return value;
}

std::optional<Asker> asker_of(pid_t thread) {
  constexpr int kOfFileSystem = 3;
  const auto status = read_text_file(fmt::format("/proc/{}/status", thread));
  if (!status) return std::nullopt;
  const auto user = field_of<uid_t>(*status, "Uid", kOfFileSystem, 10);
  const auto group = field_of<gid_t>(*status, "Gid", kOfFileSystem, 10);
  const auto capabilities = field_of<std::uint64_t>(*status, "CapEff", 0, 16);
  if (!user || !group || !capabilities) return std::nullopt;
  return Asker{
      .user = *user, .group = *group, .may_have_raw = ((*capabilities >> CAP_NET_RAW) & 1) != 0};
}

/// "net:[4026531840]"; "" where it may not be read.
std::string namespace_of(pid_t thread, std::string_view kind) {
  std::array<char, 64> link{};
  const auto path = fmt::format("/proc/{}/ns/{}", thread, kind);
  const auto size = ::readlink(path.c_str(), link.data(), link.size());
  return {link.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

/// While it lives, what this thread makes belongs to the asker. Does nothing where this process has
/// no other user than the asker's.
class Impersonation {
 public:
  explicit Impersonation(const Asker& asker)
      : group_(static_cast<gid_t>(::setfsgid(asker.group))),
        user_(static_cast<uid_t>(::setfsuid(asker.user))) {}
  ~Impersonation() {
    ::setfsuid(user_);
    ::setfsgid(group_);
  }
  Impersonation(const Impersonation&) = delete;
  Impersonation& operator=(const Impersonation&) = delete;

 private:
  gid_t group_;
  uid_t user_;
};

using Socket = std::expected<UniqueFd, int>;  // or the errno

// A second bind() by the command may choose another address and port: inet_bind() refuses it for a
// socket that has a port (net/ipv4/af_inet.c), which this one has not yet.
std::expected<void, int> set_source(int fd, const Address& source) {
  (void)set_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT");
  const auto bound = bind_to(fd, {.address = source, .port = 0});
  if (bound) return {};
  return std::unexpected(bound.error().os_error);
}

std::expected<void, int> apply(int fd, int domain, const SocketRoute& route) {
  if (route.mark != 0) {
    if (const auto marked = set_mark(fd, route.mark); !marked) {
      return std::unexpected(marked.error().os_error);
    }
  }
  const std::string& name = route.interface;
  if (!name.empty() && ::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name.data(),
                                    static_cast<socklen_t>(name.size())) != 0) {
    return std::unexpected(errno);
  }
  if (!route.has_source()) return {};
  const auto& source = domain == AF_INET ? route.source_v4 : route.source_v6;
  if (!source) return std::unexpected(EAFNOSUPPORT);
  return set_source(fd, *source);
}

Socket make(int domain, int type, int protocol, const SocketRoute& route) {
  UniqueFd fd(::socket(domain, type | SOCK_CLOEXEC, protocol));
  if (!fd.valid()) return std::unexpected(errno);
  if (const auto applied = apply(fd.get(), domain, route); !applied) {
    return std::unexpected(applied.error());
  }
  return fd;
}

bool is_raw(int type) {
  const int kind = type & ~kTypeFlags;
  return kind == SOCK_RAW || kind == SOCK_PACKET;
}

/// Whoever may have a port only by privilege asks the kernel for it.
bool is_ordinary(std::uint16_t port) {
  if (port == 0) return true;
  const auto text = read_sysctl("net/ipv4/ip_unprivileged_port_start");
  const Result<std::uint32_t> first = text ? parse_count(*text) : kFirstUnprivilegedPort;
  return port >= first.value_or(kFirstUnprivilegedPort);
}

}  // namespace

Result<void> check_socket_route(const SocketRoute& route) {
  for (const int domain : {AF_INET, AF_INET6}) {
    if (route.has_source() && !(domain == AF_INET ? route.source_v4 : route.source_v6)) continue;
    const auto made = make(domain, SOCK_STREAM, 0, route);
    if (made || made.error() == EAFNOSUPPORT) continue;
    Error error = errno_error("make a socket that leaves by this way", made.error());
    error.number = error_number::kNoRoute;
    if (made.error() == EPERM) {
      error.kind = Kind::privilege;
      error.help = "a mark needs CAP_NET_ADMIN: run shunt as root; --interface needs no privilege";
    }
    return Failure(std::move(error));
  }
  return {};
}

RoutedSockets::RoutedSockets(CallTrap trap, SocketRoute route)
    : trap_(std::move(trap)),
      route_(std::move(route)),
      own_network_(namespace_of(::getpid(), "net")),
      own_user_(namespace_of(::getpid(), "user")) {}

void RoutedSockets::answer() {
  while (const auto call = trap_.receive()) {
    if (call->number == SYS_socket) {
      answer_socket(*call);
    } else {
      answer_bind(*call);
    }
  }
}

void RoutedSockets::answer_socket(const TrappedCall& call) {
  const std::string network = namespace_of(call.thread, "net");
  const auto asker = asker_of(call.thread);
  const std::string user = namespace_of(call.thread, "user");
  if (!trap_.waits(call.id)) return;
  if (!network.empty() && network != own_network_) {
    (void)trap_.let_run(call.id);
    return;
  }
  const int domain = static_cast<int>(call.arguments[0]);
  const int type = static_cast<int>(call.arguments[1]);
  const bool may = asker && (!is_raw(type) || (asker->may_have_raw && user == own_user_));
  if (!may) {
    (void)trap_.fail(call.id, EPERM);
    return;
  }
  Socket made = std::unexpected(EPERM);
  {
    const Impersonation as_asker(*asker);
    made = make(domain, type, static_cast<int>(call.arguments[2]), route_);
  }
  if (!made) {
    (void)trap_.fail(call.id, made.error());
    return;
  }
  (void)trap_.hand_over(call.id, made->get(), (type & SOCK_CLOEXEC) != 0);
}

void RoutedSockets::answer_bind(const TrappedCall& call) {
  const auto done = bind_in_place(call);
  if (!done) {
    (void)trap_.let_run(call.id);
  } else if (*done == 0) {
    (void)trap_.finish(call.id, 0);
  } else {
    (void)trap_.fail(call.id, *done);
  }
}

// The address is read once, and what was read is what is bound: the command can change its memory
// meanwhile, but not what happens.
std::optional<int> RoutedSockets::bind_in_place(const TrappedCall& call) {
  sockaddr_storage asked{};
  const auto size = std::min<std::uint64_t>(call.arguments[2], sizeof asked);
  if (size < sizeof(sockaddr_in)) return std::nullopt;
  if (!read_memory(call.thread, call.arguments[1], &asked, size)) return std::nullopt;
  const bool v4 = asked.ss_family == AF_INET;
  if (!v4 && (asked.ss_family != AF_INET6 || size < sizeof(sockaddr_in6))) return std::nullopt;
  const auto fd = processes_.descriptor(call.thread, static_cast<int>(call.arguments[0]));
  const auto wanted = Endpoint::from(asked);
  if (!fd || !wanted || !trap_.waits(call.id)) return std::nullopt;
  const auto& source = v4 ? route_.source_v4 : route_.source_v6;
  if (!source || !wanted->address.is_any() || !is_ordinary(wanted->port)) return std::nullopt;
  const SocketAddress address(Endpoint{.address = *source, .port = wanted->port});
  return ::bind(fd->get(), address.get(), address.size()) == 0 ? 0 : errno;
}

}  // namespace shunt
