// SPDX-License-Identifier: GPL-2.0-only
// Sockets and their options. Every socket is close-on-exec and non-blocking from its birth.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "net/endpoint.h"
#include "net/unique_fd.h"

namespace shunt {

enum class SocketType : std::uint8_t { stream, datagram };

Result<UniqueFd> make_socket(Family family, SocketType type);

/// setsockopt() of an int; `name` is for the error text.
Result<void> set_option(int fd, int level, int option, int value, const char* name);

/// IP_TRANSPARENT / IPV6_TRANSPARENT: bind to, and answer from, addresses that are not ours
/// (ip(7)). Needs CAP_NET_ADMIN in the user namespace that owns the socket's network namespace.
Result<void> set_transparent(int fd, Family family);
/// SO_MARK (socket(7)); needs CAP_NET_ADMIN, or CAP_NET_RAW from Linux 5.17.
Result<void> set_mark(int fd, std::uint32_t mark);

Result<void> bind_to(int fd, const Endpoint& endpoint);
/// The address that the socket is bound to; for a TPROXY connection its original destination.
Result<Endpoint> local_endpoint(int fd);
Result<Endpoint> peer_endpoint(int fd);
/// SO_ERROR, read and cleared.
int pending_error(int fd);

/// Closing this TCP socket then sends a reset instead of a FIN (SO_LINGER 0, socket(7)).
void reset_on_close(int fd);
/// TCP_NODELAY.
void send_without_delay(int fd);
/// Before connect(): the ACK that ends the handshake goes out with the first bytes that are sent,
/// which spares a segment, or after 200 ms (TCP_QUICKACK in tcp(7); tcp_rcv_synsent_state_process()
/// in net/ipv4/tcp_input.c). Only the handshake's.
void acknowledge_with_data(int fd);
/// send_without_delay(), urgent bytes in line, and keepalive so that a peer that vanished while
/// idle is noticed after limits::kDeadPeerSeconds. Accepted sockets inherit all of it from their
/// listener. A peer that vanished with data under way is given up by the kernel's retransmission
/// limit (tcp_retries2). Not TCP_USER_TIMEOUT: the kernel counts a live reader that keeps its
/// window shut as dead by it (net/ipv4/tcp_timer.c, tcp_probe_timer), which would cut paused
/// downloads. Failures are not fatal and ignored.
void tune_relayed_tcp(int fd);
/// Two parts of it: for a socket that was dialled, which sends without delay already, before it is
/// relayed; and once it has been quiet for long enough, which most never are.
void keep_urgent_bytes_in_line(int fd);
void watch_for_dead_peer(int fd);

}  // namespace shunt
