// SPDX-License-Identifier: GPL-2.0-only
#include "net/udp_errors.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "net/socket.h"

namespace shunt {
namespace {

/// What the queue says; empty optional where a message holds no error.
std::optional<sock_extended_err> extended_error(msghdr& message) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(&message, control)) {
    const bool v4 = control->cmsg_level == SOL_IP && control->cmsg_type == IP_RECVERR;
    const bool v6 = control->cmsg_level == SOL_IPV6 && control->cmsg_type == IPV6_RECVERR;
    if (!v4 && !v6) continue;
    sock_extended_err error{};
    std::memcpy(&error, CMSG_DATA(control), sizeof error);
    return error;
  }
  return std::nullopt;
}

}  // namespace

void queue_udp_errors(int fd, Family family) {
  if (family == Family::ipv4) {
    (void)set_option(fd, SOL_IP, IP_RECVERR, 1, "IP_RECVERR");
  } else {
    (void)set_option(fd, SOL_IPV6, IPV6_RECVERR, 1, "IPV6_RECVERR");
  }
}

std::optional<UdpError> next_udp_error(int fd) {
  for (;;) {
    std::array<char, 64> start_of_datagram{};
    iovec vector{start_of_datagram.data(), start_of_datagram.size()};
    sockaddr_storage name{};
    alignas(cmsghdr) std::array<char, 512> control{};
    msghdr message{};
    message.msg_name = &name;
    message.msg_namelen = sizeof name;
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (::recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
      if (errno == EINTR) continue;
      return std::nullopt;
    }
    const auto error = extended_error(message);
    const auto destination = Endpoint::from(name);
    if (!error || !destination) continue;
    const int number = static_cast<int>(error->ee_errno);
    return UdpError{.destination = *destination,
                    .os_error = number,
                    .fatal = number != EHOSTUNREACH && number != ENETUNREACH,
                    .local = error->ee_origin == SO_EE_ORIGIN_LOCAL,
                    .mtu = number == EMSGSIZE ? error->ee_info : 0};
  }
}

}  // namespace shunt
