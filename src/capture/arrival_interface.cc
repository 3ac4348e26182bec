// SPDX-License-Identifier: GPL-2.0-only
// Where a connection or datagram came in. An accepted TCP socket remembers the interface of the
// handshake's last segment (net/ipv4/tcp_ipv4.c, tcp_v4_syn_recv_sock; the same in tcp_ipv6.c) and
// tells it by IP_PKTOPTIONS (ip(7)) or IPV6_2292PKTOPTIONS, where the matching PKTINFO is asked
// for.
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "capture/capture.h"
#include "net/socket.h"

namespace shunt {
namespace {

#ifndef IPV6_2292PKTOPTIONS
constexpr int IPV6_2292PKTOPTIONS = 6;  // linux/in6.h, which does not go with netinet/in.h
#endif
constexpr std::size_t kControlBytes = 256;

/// CMSG_NXTHDR wants a non-const msghdr in glibc, though it changes nothing.
cmsghdr* next_header(const msghdr& message, cmsghdr* header) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): the reason above
  return CMSG_NXTHDR(const_cast<msghdr*>(&message), header);
}

template <class T>
T value_of(const cmsghdr& header) {
  T value{};
  std::memcpy(&value, CMSG_DATA(&header), sizeof value);
  return value;
}

/// 0: it does not say.
unsigned interface_index(const msghdr& message) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = next_header(message, header)) {
    if (header->cmsg_level == SOL_IP && header->cmsg_type == IP_PKTINFO) {
      return static_cast<unsigned>(value_of<in_pktinfo>(*header).ipi_ifindex);
    }
    if (header->cmsg_level == SOL_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
      return value_of<in6_pktinfo>(*header).ipi6_ifindex;
    }
  }
  return 0;
}

/// In the socket's network namespace, which need not be this process's.
std::optional<std::string> interface_name(int fd, unsigned index) {
  if (index == 0) return std::nullopt;
  ifreq request{};
  request.ifr_ifindex = static_cast<int>(index);
  if (::ioctl(fd, SIOCGIFNAME, &request) != 0) return std::nullopt;
  const std::string name(request.ifr_name, ::strnlen(request.ifr_name, IFNAMSIZ));
  return name == "lo" ? std::string() : name;
}

unsigned arrival_index(int fd, int level, int wanted, int options) {
  if (!set_option(fd, level, wanted, 1, "PKTINFO")) return 0;
  alignas(cmsghdr) std::array<char, kControlBytes> control{};
  socklen_t size = control.size();
  const bool told = ::getsockopt(fd, level, options, control.data(), &size) == 0;
  (void)set_option(fd, level, wanted, 0, "PKTINFO");  // else every segment costs a copy of it
  if (!told) return 0;
  msghdr message{};
  message.msg_control = control.data();
  message.msg_controllen = size;
  return interface_index(message);
}

}  // namespace

std::optional<std::string> arrival_interface(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) return std::nullopt;
  const unsigned index = domain == AF_INET
                             ? arrival_index(fd, SOL_IP, IP_PKTINFO, IP_PKTOPTIONS)
                             : arrival_index(fd, SOL_IPV6, IPV6_RECVPKTINFO, IPV6_2292PKTOPTIONS);
  return interface_name(fd, index);
}

std::optional<std::string> arrival_interface(int fd, const msghdr& message) {
  return interface_name(fd, interface_index(message));
}

std::optional<std::string> arrival_interface(int socket, unsigned index) {
  if (index == 0) return std::string();
  return interface_name(socket, index);
}

void report_arrival_interface(int fd) {
  (void)set_option(fd, SOL_IP, IP_PKTINFO, 1, "IP_PKTINFO");
  (void)set_option(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
}

}  // namespace shunt
