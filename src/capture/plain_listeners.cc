// SPDX-License-Identifier: GPL-2.0-only
#include "capture/plain_listeners.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <ranges>
#include <utility>

#include "base/error_numbers.h"
#include "base/limits.h"
#include "base/section_name.h"
#include "base/udp_limits.h"
#include "capture/proxy_header.h"
#include "net/socket.h"

namespace shunt {
namespace {

class HeaderIntroduction final : public Introduction {
 public:
  explicit HeaderIntroduction(std::shared_ptr<const PlainListener> listener)
      : listener_(std::move(listener)) {}

  Task<std::expected<void, ConnectFailure>> learn(EventLoop& loop, int fd, Flow& flow) override {
    if (!listener_->wants_header(flow.source.address)) {
      co_return std::unexpected(
          ConnectFailure{.reason = ConnectReason::no_destination,
                         .os_error = 0,
                         .detail = "no PROXY header is taken from there (accept-proxy), and the "
                                   "listener has no `to`"});
    }
    const Endpoint sender = flow.source;
    const auto bytes = co_await take_proxy_header(loop, fd, limits::kProxyHeaderWaitMs);
    if (!bytes) co_return noted(sender, bytes.error());
    const auto header = proxy_protocol::decode(*bytes);
    const auto applied = apply_proxy_header(*listener_, header.value, flow);
    if (!applied) co_return noted(sender, applied.error());
    co_return applied;
  }

 private:
  std::unexpected<ConnectFailure> noted(const Endpoint& sender, const ConnectFailure& why) const {
    if (why.reason == ConnectReason::bad_proxy_header) {
      note_bad_header(*listener_, sender, why.detail);
    }
    return std::unexpected(why);
  }

  std::shared_ptr<const PlainListener> listener_;
};

Failure listener_error(const PlainListener& listener, std::string_view key, std::string message,
                       std::string help = {}) {
  Error error =
      make_error(Kind::configuration, error_number::kBadListener,
                 fmt::format("listener \"{}\": {}", listener.name, message), std::move(help));
  if (listener.place) error.place = listener.place(key);
  return Failure(std::move(error));
}

/// Whether a connection to `destination` reaches a listener on `address`, as far as it can be seen
/// from the addresses.
bool reaches(const Endpoint& address, const Endpoint& destination) {
  return address.port == destination.port &&
         (address.address == destination.address ||
          (address.address.is_any() && destination.address.is_loopback()));
}

bool overlap(const PlainListener& a, const PlainListener& b) {
  return (a.tcp && b.tcp) || (a.udp && b.udp);
}

Result<void> check_destination(std::span<const PlainListener> all, const PlainListener& one) {
  if (!one.to) {
    if (!one.accept_proxy.empty()) return {};
    return listener_error(one, "", "it says neither where connections go nor who says so",
                          "to = \"ADDRESS:PORT\", or accept-proxy = [\"NETWORK\"] for the "
                          "destinations of PROXY headers");
  }
  const Endpoint& to = *one.to;
  if (to.port == 0 || to.address.is_any() || to.address.is_multicast()) {
    return listener_error(one, "to", fmt::format("{} is no place to connect to", to.text()));
  }
  for (const PlainListener& other : all) {
    if (!overlap(one, other)) continue;
    for (const Endpoint& address : other.addresses) {
      if (!reaches(address, to)) continue;
      return listener_error(
          one, "to",
          fmt::format("{} is an address of the listener \"{}\": a loop", to.text(), other.name));
    }
  }
  return {};
}

Result<void> check_addresses(std::span<const PlainListener> all, const PlainListener& one) {
  if (one.addresses.empty()) {
    return listener_error(one, "address", "it has no address", "address = \"192.0.2.1:8443\"");
  }
  for (std::size_t i = 0; i < one.addresses.size(); ++i) {
    const Endpoint& address = one.addresses[i];
    if (address.port == 0) return listener_error(one, "address", "a listener needs its port");
    if (address.address.is_multicast()) {
      return listener_error(one, "address", fmt::format("{} is multicast", address.text()));
    }
    const auto rest = std::span(one.addresses).subspan(i + 1);
    const bool twice = std::ranges::find(rest, address) != rest.end();
    const auto other = std::ranges::find_if(all, [&](const PlainListener& candidate) {
      return &candidate > &one && overlap(candidate, one) &&
             std::ranges::find(candidate.addresses, address) != candidate.addresses.end();
    });
    if (twice || other != all.end()) {
      return listener_error(one, "address", fmt::format("{} is listened on twice", address.text()));
    }
  }
  return {};
}

// --- sockets ---

Error cannot_listen(const PlainListener& listener, const Endpoint& address, const Error& cause) {
  Error error =
      make_error(Kind::runtime, error_number::kCannotListen,
                 fmt::format("listener \"{}\" cannot have {}", listener.name, address.text()));
  error.os_error = cause.os_error;
  if (listener.place) error.place = listener.place("address");
  switch (cause.os_error) {
    case EADDRINUSE:
      error.kind = Kind::conflict;
      error.help = fmt::format("ss -lnptu 'sport = :{}'      (says who has it)", address.port);
      break;
    case EACCES:
      error.kind = Kind::privilege;
      error.help = "a port from 1024 on, or CAP_NET_BIND_SERVICE";
      break;
    case EADDRNOTAVAIL:
      error.kind = Kind::configuration;
      error.help = "ip address      (no interface has it; 0.0.0.0 and [::] stand for all)";
      break;
    default: error.message = cause.message;
  }
  return error;
}

Result<UniqueFd> bound_socket(const Endpoint& address, SocketType type, bool shared,
                              std::uint32_t mark) {
  const Family family = address.address.family();
  UniqueFd fd = SHUNT_TRY(make_socket(family, type));
  if (shared) SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"));
  if (type == SocketType::stream) {  // connections of a shunt before may be in TIME_WAIT
    SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  }
  if (family == Family::ipv6) {
    const bool both = address.address.is_any();
    SHUNT_CHECK(set_option(fd.get(), SOL_IPV6, IPV6_V6ONLY, both ? 0 : 1, "IPV6_V6ONLY"));
  }
  if (mark != 0) (void)set_mark(fd.get(), mark);
  SHUNT_CHECK(bind_to(fd.get(), address));
  return fd;
}

/// SO_REUSEPORT alone would share a port with another process of the same user, and get half of
/// its connections: an address must be free first.
Result<void> must_be_free(const Endpoint& address, SocketType type) {
  const auto probe = bound_socket(address, type, false, 0);
  if (!probe) return Failure(probe.error());
  return {};
}

Result<UniqueFd> tcp_socket(const Endpoint& address, std::uint32_t mark) {
  UniqueFd fd = SHUNT_TRY(bound_socket(address, SocketType::stream, true, mark));
  (void)set_option(fd.get(), SOL_TCP, TCP_NODELAY, 1, "TCP_NODELAY");  // inherited by accepted ones
  if (::listen(fd.get(), limits::kListenBacklog) != 0) {
    return Failure(errno_error("listen " + address.text()));
  }
  return fd;
}

/// The address that a datagram came to, which on a wildcard only the datagram knows: a dual-stack
/// socket reports IPv4 and IPv6 by an option each.
Result<UniqueFd> udp_socket(const Endpoint& address, std::uint32_t mark) {
  UniqueFd fd = SHUNT_TRY(bound_socket(address, SocketType::datagram, true, mark));
  const bool v6 = !address.address.is_v4();
  if (v6) SHUNT_CHECK(set_option(fd.get(), SOL_IPV6, IPV6_RECVORIGDSTADDR, 1, "RECVORIGDSTADDR"));
  if (!v6 || address.address.is_any()) {
    SHUNT_CHECK(set_option(fd.get(), SOL_IP, IP_RECVORIGDSTADDR, 1, "RECVORIGDSTADDR"));
  }
  constexpr int kBytes = limits::kUdpReceiveBufferBytes;
  if (!set_option(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, kBytes, "SO_RCVBUFFORCE")) {
    (void)set_option(fd.get(), SOL_SOCKET, SO_RCVBUF, kBytes, "SO_RCVBUF");
  }
  return fd;
}

Result<void> open_one(const std::shared_ptr<const PlainListener>& listener, const Endpoint& address,
                      SocketType type, std::vector<ListenerSet>& workers, std::uint32_t mark) {
  const bool stream = type == SocketType::stream;
  SHUNT_CHECK(must_be_free(address, type));
  for (ListenerSet& worker : workers) {
    UniqueFd fd = SHUNT_TRY(stream ? tcp_socket(address, mark) : udp_socket(address, mark));
    auto& sockets = stream ? worker.plain_tcp : worker.plain_udp;
    sockets.push_back({.fd = std::move(fd), .listener = listener});
  }
  return {};
}

}  // namespace

bool PlainListener::wants_header(const Address& peer) const {
  return std::ranges::any_of(accept_proxy,
                             [&](const Network& network) { return network.contains(peer); });
}

std::string PlainListener::text() const {
  std::string_view protocols = tcp ? "tcp" : "udp";
  if (tcp && udp) protocols = "tcp and udp";
  std::string out = fmt::format("{} ({}): {}",
                                fmt::join(addresses | std::views::transform(&Endpoint::text), ", "),
                                name, protocols);
  if (!accept_proxy.empty()) {
    out += fmt::format(", PROXY header from {}",
                       fmt::join(accept_proxy | std::views::transform(&Network::text), ", "));
  }
  return out + (to ? ", to " + to->text() : ", to where the header says");
}

bool PlainListener::same(const PlainListener& other) const {
  return name == other.name && addresses == other.addresses && to == other.to &&
         accept_proxy == other.accept_proxy && tcp == other.tcp && udp == other.udp;
}

Result<void> check_plain_listeners(std::span<const PlainListener> listeners) {
  std::size_t addresses = 0;
  for (const PlainListener& one : listeners) {
    if (!is_section_name(one.name)) {
      return listener_error(one, "", R"(a name is made of letters, digits, "-", "_" and ".")");
    }
    SHUNT_CHECK(check_addresses(listeners, one));
    SHUNT_CHECK(check_destination(listeners, one));
    addresses += one.addresses.size();
    if (addresses > limits::kListenAddresses) {
      return listener_error(one, "address",
                            fmt::format("more than {} addresses in all", limits::kListenAddresses));
    }
  }
  return {};
}

Result<void> open_plain_listeners(std::span<const PlainListener> listeners,
                                  std::vector<ListenerSet>& workers, std::uint32_t mark) {
  for (const PlainListener& one : listeners) {
    const auto listener = std::make_shared<const PlainListener>(one);
    for (const Endpoint& address : one.addresses) {
      for (const SocketType type : {SocketType::stream, SocketType::datagram}) {
        if (!(type == SocketType::stream ? one.tcp : one.udp)) continue;
        auto opened = open_one(listener, address, type, workers, mark);
        if (!opened) return Failure(cannot_listen(one, address, opened.error()));
      }
    }
  }
  return {};
}

std::vector<Endpoint> own_endpoints(std::span<const PlainListener> listeners) {
  std::vector<Endpoint> out;
  for (const PlainListener& one : listeners) {
    out.insert(out.end(), one.addresses.begin(), one.addresses.end());
  }
  return out;
}

void introduce(const std::shared_ptr<const PlainListener>& listener, Captured& captured) {
  Flow& flow = captured.flow;
  flow.method = CaptureMethod::listener;
  flow.listener = listener->name;
  if (listener->to) flow.original_destination = *listener->to;
  if (!listener->to || listener->wants_header(flow.source.address)) {
    captured.introduction = std::make_unique<HeaderIntroduction>(listener);
  }
}

}  // namespace shunt
