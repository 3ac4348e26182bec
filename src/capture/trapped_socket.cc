// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace shunt {
namespace {

constexpr std::uint32_t kOldSockaddrIn6 = 24;  // without a scope: SIN6_LEN_RFC2133, net/ipv6.h

int int_option(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : 0;
}

}  // namespace

bool give_answer(const WaitingCalls& calls, std::uint64_t id, const CallAnswer& answer) {
  switch (answer.kind) {
    case CallAnswer::Kind::let_run: return calls.let_run(id);
    case CallAnswer::Kind::later: return true;
    case CallAnswer::Kind::result: break;
  }
  if (answer.value < 0) return calls.fail(id, static_cast<int>(-answer.value));
  return calls.finish(id, answer.value);
}

void tell(CallContext& context, const TrappedCall& call, std::uint64_t cookie,
          const CallOutcome& outcome, std::uint64_t digest) {
  const auto answer = outcome ? CallAnswer::result(*outcome) : CallAnswer::error(outcome.error());
  const bool told = give_answer(context.calls, call.id, answer);
  if (!told && outcome) context.repeated.keep(call, cookie, {.value = *outcome, .digest = digest});
}

std::expected<TrappedSocket, int> TrappedSocket::open(ForeignProcesses& processes, pid_t thread,
                                                      std::uint64_t number) {
  auto fd = processes.descriptor(thread, static_cast<int>(number));
  if (!fd) return std::unexpected(fd.error());
  return of(*std::move(fd));
}

TrappedSocket TrappedSocket::of(UniqueFd fd) {
  TrappedSocket socket;
  socket.fd = std::move(fd);
  socket.domain = int_option(socket.fd.get(), SO_DOMAIN);
  if (!socket.is_internet()) return socket;
  socket.type = int_option(socket.fd.get(), SO_TYPE);
  socket.protocol = int_option(socket.fd.get(), SO_PROTOCOL);
  return socket;
}

bool TrappedSocket::is_internet() const { return domain == AF_INET || domain == AF_INET6; }
bool TrappedSocket::is_tcp() const { return type == SOCK_STREAM && protocol == IPPROTO_TCP; }
bool TrappedSocket::is_udp() const { return type == SOCK_DGRAM && protocol == IPPROTO_UDP; }

Family TrappedSocket::family() const { return domain == AF_INET6 ? Family::ipv6 : Family::ipv4; }

bool TrappedSocket::is_blocking() const {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  return flags >= 0 && (flags & O_NONBLOCK) == 0;
}

std::uint64_t TrappedSocket::cookie() const {
  std::uint64_t value = 0;
  socklen_t size = sizeof value;
  (void)::getsockopt(fd.get(), SOL_SOCKET, SO_COOKIE, &value, &size);
  return value;
}

std::optional<std::uint32_t> TrappedSocket::timeout_ms(int option) const {
  timeval value{};
  socklen_t size = sizeof value;
  if (::getsockopt(fd.get(), SOL_SOCKET, option, &value, &size) != 0) return std::nullopt;
  if (value.tv_sec == 0 && value.tv_usec == 0) return std::nullopt;
  constexpr std::int64_t kMost = 24LL * 3600 * 1000;
  const std::int64_t ms = value.tv_sec * 1000LL + (value.tv_usec + 999) / 1000;
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(ms, 1, kMost));
}

std::expected<std::optional<Endpoint>, int> parse_address(const TrappedSocket& socket,
                                                          const sockaddr_storage& address,
                                                          std::uint32_t size) {
  if (size < sizeof(sa_family_t)) return std::unexpected(EINVAL);
  if (address.ss_family == AF_UNSPEC) return std::optional<Endpoint>();
  // A UDP socket of IPv6 takes an address of IPv4, one of TCP does not.
  const bool v4 = socket.domain != AF_INET6 || (address.ss_family == AF_INET && socket.is_udp());
  if (size < (v4 ? sizeof(sockaddr_in) : kOldSockaddrIn6)) return std::unexpected(EINVAL);
  if (address.ss_family != (v4 ? AF_INET : AF_INET6)) return std::unexpected(EAFNOSUPPORT);
  return Endpoint::from(address);
}

std::expected<std::optional<Endpoint>, int> read_address(const TrappedSocket& socket, pid_t thread,
                                                         std::uint64_t address,
                                                         std::uint64_t size) {
  sockaddr_storage storage{};
  const auto bytes = static_cast<std::uint32_t>(size);
  if (bytes > sizeof storage) return std::unexpected(EINVAL);
  const auto read = read_memory(thread, address, &storage, bytes);
  if (!read) return std::unexpected(read.error());
  return parse_address(socket, storage, bytes);
}

int write_address(const TrappedSocket& socket, pid_t thread, const Endpoint& endpoint,
                  std::uint64_t address, std::uint64_t size_at) {
  const auto room = read_value<std::int32_t>(thread, size_at);
  if (!room) return room.error();
  if (*room < 0) return EINVAL;
  const SocketAddress shown(endpoint, socket.family());
  const auto fits = std::min<std::size_t>(static_cast<std::size_t>(*room), shown.size());
  if (const auto done = write_memory(thread, address, shown.get(), fits); !done) {
    return done.error();
  }
  const std::uint32_t size = shown.size();
  const auto done = write_memory(thread, size_at, &size, sizeof size);
  return done ? 0 : done.error();
}

}  // namespace shunt
