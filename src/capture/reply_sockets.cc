// SPDX-License-Identifier: GPL-2.0-only
#include "capture/reply_sockets.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>

#include "base/udp_limits.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr int kUdpChecksumOffset = offsetof(udphdr, uh_sum);

/// bind() without IP_TRANSPARENT succeeds on the machine's own addresses alone. (With
/// ip_nonlocal_bind set it always does; replies then all go the raw way, which is right, if
/// slower.)
bool is_local(const Endpoint& endpoint) {
  auto probe = make_socket(endpoint.address.family(), SocketType::datagram);
  if (!probe) return false;
  return bind_to(probe->get(), Endpoint{endpoint.address, 0, endpoint.scope_id}).has_value();
}

Result<void> make_foreign(int fd, Family family, std::uint32_t mark) {
  SHUNT_CHECK(set_transparent(fd, family));
  if (family == Family::ipv6) {
    SHUNT_CHECK(set_option(fd, SOL_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"));
  }
  if (mark != 0) SHUNT_CHECK(set_mark(fd, mark));
  return {};
}

/// A raw socket is handed a copy of every UDP packet for its address: let none in.
Result<void> receive_nothing(int fd) {
  sock_filter reject_all = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog program{.len = 1, .filter = &reject_all};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) {
    return Failure(errno_error("setsockopt(SO_ATTACH_FILTER)"));
  }
  return {};
}

class LocalReplySockets final : public ReplySockets {
 public:
  LocalReplySockets(std::uint32_t mark, std::uint32_t hairpin_mark)
      : mark_(mark), hairpin_mark_(hairpin_mark) {}
  Result<UniqueFd> bound(const Endpoint& source) override {
    return make_bound_reply_socket(source, mark_);
  }
  Result<UniqueFd> raw(const Address& source) override {
    return make_raw_reply_socket(source, mark_);
  }
  [[nodiscard]] std::uint32_t hairpin_mark() const override { return hairpin_mark_; }

 private:
  std::uint32_t mark_;
  std::uint32_t hairpin_mark_;
};

}  // namespace

Result<UniqueFd> make_bound_reply_socket(const Endpoint& source, std::uint32_t mark) {
  if (is_local(source)) return Failure(errno_error("bind " + source.text(), EADDRINUSE));
  UniqueFd fd = SHUNT_TRY(make_unbound_reply_socket(source.address.family(), mark));
  SHUNT_CHECK(bind_to(fd.get(), source));
  return fd;
}

Result<UniqueFd> make_raw_reply_socket(const Address& source, std::uint32_t mark) {
  UniqueFd fd = SHUNT_TRY(make_unbound_raw_reply_socket(source.family(), mark));
  SHUNT_CHECK(bind_to(fd.get(), Endpoint{source, 0}));
  return fd;
}

Result<UniqueFd> make_unbound_reply_socket(Family family, std::uint32_t mark) {
  UniqueFd fd = SHUNT_TRY(make_socket(family, SocketType::datagram));
  SHUNT_CHECK(make_foreign(fd.get(), family, mark));
  // Other workers, and clients of other sessions, reply from the same address.
  SHUNT_CHECK(set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  return fd;
}

Result<UniqueFd> make_unbound_raw_reply_socket(Family family, std::uint32_t mark) {
  const bool v4 = family == Family::ipv4;
  UniqueFd fd(
      ::socket(v4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP));
  if (!fd.valid()) return Failure(errno_error("socket(SOCK_RAW)"));
  SHUNT_CHECK(receive_nothing(fd.get()));
  SHUNT_CHECK(set_transparent(fd.get(), family));
  if (mark != 0) SHUNT_CHECK(set_mark(fd.get(), mark));
  if (!v4) {
    SHUNT_CHECK(set_option(fd.get(), SOL_IPV6, IPV6_CHECKSUM, kUdpChecksumOffset, "IPV6_CHECKSUM"));
  }
  return fd;
}

std::shared_ptr<ReplySockets> local_reply_sockets(std::uint32_t mark, std::uint32_t hairpin_mark) {
  return std::make_shared<LocalReplySockets>(mark, hairpin_mark);
}

}  // namespace shunt
