// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/sock_diag.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace shunt {
namespace {

constexpr int kAnswerWithinMs = 50;  // the kernel answers while it is asked

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

void put(const Endpoint& endpoint, std::uint16_t& port, __be32 (&address)[4]) {
  port = htons(endpoint.port);
  const auto bytes = endpoint.address.bytes();
  std::memcpy(address, bytes.data(), bytes.size());
}

Request make_request(Protocol protocol, const Endpoint& local, const Endpoint& remote) {
  Request request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.body.sdiag_family = local.address.is_v4() ? AF_INET : AF_INET6;
  request.body.sdiag_protocol = protocol == Protocol::tcp ? IPPROTO_TCP : IPPROTO_UDP;
  request.body.idiag_states = ~0U;
  auto& id = request.body.id;
  // The lookup of UDP takes the pair as an arriving packet has it (net/ipv4/udp_diag.c), that of
  // TCP as the socket has it (net/ipv4/inet_diag.c). Tried on 6.18.
  const bool tcp = protocol == Protocol::tcp;
  put(tcp ? local : remote, id.idiag_sport, id.idiag_src);
  put(tcp ? remote : local, id.idiag_dport, id.idiag_dst);
  id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return request;
}

}  // namespace

std::optional<SocketOwner> SockDiag::find(Protocol protocol, const Endpoint& local,
                                          const Endpoint& remote) {
  const Request request = make_request(protocol, local, remote);
  if (::send(fd_.get(), &request, sizeof request, 0) != sizeof request) return std::nullopt;
  pollfd readable{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&readable, 1, kAnswerWithinMs) <= 0) return std::nullopt;
  alignas(nlmsghdr) std::array<char, 4096> buffer{};
  const auto got = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
  const auto* header = reinterpret_cast<const nlmsghdr*>(buffer.data());
  if (got < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(inet_diag_msg)))) return std::nullopt;
  if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) return std::nullopt;  // an error: there is none
  inet_diag_msg found{};
  std::memcpy(&found, NLMSG_DATA(header), sizeof found);
  if (found.idiag_inode == 0) return std::nullopt;
  return SocketOwner{.inode = found.idiag_inode, .uid = found.idiag_uid};
}

}  // namespace shunt
