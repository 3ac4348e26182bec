// SPDX-License-Identifier: GPL-2.0-only
#include "egress/upstream_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace shunt {
namespace {

using std::unexpected;
template <class T>
using Expected = std::expected<T, ConnectFailure>;
using Applied = Expected<void>;

ConnectFailure cannot_leave(std::string what, int os_error) {
  what += ": ";
  what += strerrordesc_np(os_error);
  return {.reason = ConnectReason::network_unreachable,
          .os_error = os_error,
          .detail = std::move(what)};
}

ConnectFailure no_source(Family family) {
  return {.reason = ConnectReason::network_unreachable,
          .os_error = 0,
          .detail = family == Family::ipv4 ? "the way out has no IPv4 source address"
                                           : "the way out has no IPv6 source address"};
}

Applied set_upstream_mark(int fd, const UpstreamOptions& options, bool borrowed) {
  const std::uint32_t mark = (borrowed ? options.kept_mark : options.mark) | options.user_mark;
  if (mark == 0) return {};
  const auto marked = set_mark(fd, mark);
  // shunt's own mark alone may be missing: an unprivileged shunt captures only inside a namespace
  // of its own, which its upstream sockets never enter.
  if (marked || (options.user_mark == 0 && !borrowed)) return {};
  return unexpected(cannot_leave("cannot set the mark", marked.error().os_error));
}

// Since Linux 5.7 any user may bind a socket that is not yet bound to a device
// (sock_setbindtodevice in net/core/sock.c).
Applied bind_to_interface(int fd, const UpstreamOptions& options) {
  const std::string& name = options.interface;
  if (name.empty()) return {};
  if (::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name.data(),
                   static_cast<socklen_t>(name.size())) == 0) {
    return {};
  }
  return unexpected(cannot_leave("interface " + name, errno));
}

// The port is chosen by connect(), which then needs it to be free for that destination only.
Applied bind_source(int fd, Family family, const UpstreamOptions& options) {
  const auto& source = family == Family::ipv4 ? options.source_v4 : options.source_v6;
  if (!source) {
    if (!options.source_v4 && !options.source_v6) return {};
    return unexpected(no_source(family));
  }
  (void)set_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT");
  const auto bound = bind_to(fd, {.address = *source, .port = 0, .scope_id = 0});
  if (bound) return {};
  return unexpected(cannot_leave("source " + source->text(), bound.error().os_error));
}

// As bind_source(); with a port, SO_REUSEADDR lets flows of one client to several servers share it.
Applied bind_kept(int fd, Family family, const KeptSource& kept) {
  if (!kept.own) {
    const auto transparent = set_transparent(fd, family);
    if (!transparent) {
      return unexpected(cannot_leave("keep-source", transparent.error().os_error));
    }
  }
  if (kept.port) {
    (void)set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  } else {
    (void)set_option(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT");
  }
  Endpoint source = kept.client;
  if (!kept.port) source.port = 0;
  const auto bound = bind_to(fd, source);
  if (bound) return {};
  return unexpected(
      cannot_leave("keep-source " + kept.client.address.text(), bound.error().os_error));
}

// RFC 4787 REQ-3 and REQ-4: the client's port, else one of its range and parity. One below 1024 is
// not taken: on this machine such a port belongs to a daemon, which may be about to start.
constexpr std::uint16_t kFirstUserPort = 1024;
constexpr std::uint16_t kFirstEphemeralPort = 32'768;  // ip_local_port_range, its default
constexpr std::uint16_t kEphemeralPorts = 28'232;
constexpr int kPortAttempts = 16;

Applied bind_mapping(int fd, const Address& address, std::uint16_t preferred) {
  const unsigned parity = preferred % 2;
  std::uint16_t port = preferred;
  for (int attempt = 0; attempt < kPortAttempts; ++attempt) {
    if (port >= kFirstUserPort && bind_to(fd, {.address = address, .port = port})) return {};
    port = static_cast<std::uint16_t>(kFirstEphemeralPort +
                                      2 * ::arc4random_uniform(kEphemeralPorts / 2) + parity);
  }
  const auto bound = bind_to(fd, {.address = address, .port = 0});
  if (bound) return {};
  return unexpected(cannot_leave("source " + address.text(), bound.error().os_error));
}

Expected<Address> mapping_address(Family family, const UpstreamOptions& options) {
  const auto& source = family == Family::ipv4 ? options.source_v4 : options.source_v6;
  if (source) return *source;
  if (!options.source_v4 && !options.source_v6) return Address::any(family);
  return unexpected(no_source(family));
}

}  // namespace

std::expected<UniqueFd, ConnectFailure> open_mapping_socket(Family family,
                                                            const UpstreamOptions& options,
                                                            std::uint16_t preferred) {
  const auto address = mapping_address(family, options);
  if (!address) return unexpected(address.error());
  auto fd = make_socket(family, SocketType::datagram);
  if (!fd) return unexpected(failure_from_errno(fd.error().os_error));
  if (family == Family::ipv6) {
    (void)set_option(fd->get(), SOL_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY");
  }
  if (auto done = set_upstream_mark(fd->get(), options, false); !done) {
    return unexpected(done.error());
  }
  if (auto done = bind_to_interface(fd->get(), options); !done) return unexpected(done.error());
  if (auto done = bind_mapping(fd->get(), *address, preferred); !done) {
    return unexpected(done.error());
  }
  return std::move(*fd);
}

std::expected<UniqueFd, ConnectFailure> open_upstream_socket(Family family, SocketType type,
                                                             const UpstreamOptions& options,
                                                             const KeptSource* kept) {
  auto fd = make_socket(family, type);
  if (!fd) return unexpected(failure_from_errno(fd.error().os_error));
  const bool borrowed = kept != nullptr && !kept->own;
  if (auto done = set_upstream_mark(fd->get(), options, borrowed); !done) {
    return unexpected(done.error());
  }
  if (auto done = bind_to_interface(fd->get(), options); !done) return unexpected(done.error());
  const Applied bound = kept != nullptr ? bind_kept(fd->get(), family, *kept)
                                        : bind_source(fd->get(), family, options);
  if (!bound) return unexpected(bound.error());
  return std::move(*fd);
}

}  // namespace shunt
