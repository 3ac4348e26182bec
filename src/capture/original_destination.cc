// SPDX-License-Identifier: GPL-2.0-only
#include <netinet/in.h>

#include <cstring>

#include "capture/capture.h"
#include "net/socket.h"

namespace shunt {
namespace {

// linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h (IP6T_SO_ORIGINAL_DST), which do not
// go together with netinet/in.h.
constexpr int kSoOriginalDst = 80;

/// What conntrack remembers of the destination before NAT. Without an entry: ENOENT; where the
/// connection was not translated, the socket's own address (the proxy refuses that one).
Result<Endpoint> redirected_destination(int fd) {
  // An IPv4 connection on a dual-stack socket is in the IPv4 table alone: asked through SOL_IPV6
  // the kernel answers ENOENT (tried, 6.18). peer_endpoint() has unmapped the address.
  const Endpoint peer = SHUNT_TRY(peer_endpoint(fd));
  const bool v4 = peer.address.is_v4();
  sockaddr_storage storage{};
  socklen_t size = v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (::getsockopt(fd, v4 ? SOL_IP : SOL_IPV6, kSoOriginalDst, &storage, &size) != 0) {
    return Failure(errno_error("getsockopt(SO_ORIGINAL_DST)"));
  }
  const auto destination = Endpoint::from(storage);
  if (!destination) return Failure(errno_error("SO_ORIGINAL_DST", EAFNOSUPPORT));
  return *destination;
}

template <class T>
Endpoint endpoint_in(const cmsghdr& header) {
  sockaddr_storage storage{};
  std::memcpy(&storage, CMSG_DATA(&header), sizeof(T));
  return Endpoint::from(storage).value_or(Endpoint{});
}

/// CMSG_NXTHDR wants a non-const msghdr in glibc, though it changes nothing.
cmsghdr* next_header(const msghdr& message, cmsghdr* header) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): the reason above
  return CMSG_NXTHDR(const_cast<msghdr*>(&message), header);
}

}  // namespace

Result<Endpoint> original_destination(int fd, CaptureMethod method) {
  return method == CaptureMethod::redirect ? redirected_destination(fd) : local_endpoint(fd);
}

std::optional<Endpoint> datagram_destination(const msghdr& message) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = next_header(message, header)) {
    // A dual-stack socket reports an IPv4 datagram the IPv4 way.
    if (header->cmsg_level == SOL_IP && header->cmsg_type == IP_ORIGDSTADDR &&
        header->cmsg_len >= CMSG_LEN(sizeof(sockaddr_in))) {
      return endpoint_in<sockaddr_in>(*header);
    }
    if (header->cmsg_level == SOL_IPV6 && header->cmsg_type == IPV6_ORIGDSTADDR &&
        header->cmsg_len >= CMSG_LEN(sizeof(sockaddr_in6))) {
      return endpoint_in<sockaddr_in6>(*header);
    }
  }
  return std::nullopt;
}

}  // namespace shunt
