// SPDX-License-Identifier: GPL-2.0-only
// A capture is (network namespace, selector, mechanism). It puts rules and listening sockets into
// the namespace where the traffic is seen, and yields what arrives there. This header is what the
// proxy needs of any of them.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "flow/admission.h"
#include "flow/flow.h"
#include "kernel/marks.h"
#include "kernel/packet_queue.h"
#include "net/endpoint.h"
#include "net/unique_fd.h"

namespace shunt {

struct PlainListener;  // capture/plain_listeners.h
class FlowSource;      // capture/flow_source.h

/// A socket of a plain listener.
struct PlainSocket {
  UniqueFd fd;
  std::shared_ptr<const PlainListener> listener;
};

/// Where the SYNs of one worker's clients wait until their servers have answered
/// (capture/held_connections.h).
struct Hold {
  PacketQueue queue;
  HoldMarks marks;
};

/// The listening sockets of one worker; all workers' share ports by SO_REUSEPORT.
struct ListenerSet {
  std::vector<UniqueFd> tcp;  ///< listening
  std::vector<UniqueFd> udp;  ///< bound, original destination reported by IP(V6)_RECVORIGDSTADDR
  std::vector<PlainSocket> plain_tcp = {};
  std::vector<PlainSocket> plain_udp = {};
  std::optional<Hold> hold = {};            ///< none: clients are let in first
  std::shared_ptr<FlowSource> source = {};  ///< of flows that arrive at no socket; may be null

  [[nodiscard]] std::vector<int> descriptors() const;
  /// The calling thread's table has kept them all: UniqueFd::adopt().
  void adopt();
};

/// Makes sockets in the capture's network namespace that send from a foreign address: UDP replies
/// come from where the client sent to. Thread-safe; may block for as long as one round trip to a
/// helper process takes (well under a millisecond).
class ReplySockets {
 public:
  virtual ~ReplySockets() = default;
  /// A transparent, unconnected UDP socket bound to `source`, carrying shunt's mark. EADDRINUSE
  /// means a local daemon holds the port without SO_REUSEADDR: use raw().
  virtual Result<UniqueFd> bound(const Endpoint& source) = 0;
  /// A transparent raw UDP socket (the caller writes the UDP header) bound to the address alone;
  /// receives nothing.
  virtual Result<UniqueFd> raw(const Address& source) = 0;
  /// By what the capture knows a reply that comes from another client's mapping (SO_MARK); 0: it
  /// needs nothing.
  [[nodiscard]] virtual std::uint32_t hairpin_mark() const { return 0; }
  /// What these need to be open in the caller's table (base/descriptor_table.h).
  [[nodiscard]] virtual std::vector<int> descriptors() const { return {}; }
};

/// Where a client was going, and who it is, as the capture itself remembers it.
struct Origin {
  Endpoint destination;
  std::shared_ptr<const ClientProcess> process;  ///< not null
};

/// Of captures that change the address that programs send to (eBPF). Any thread; some microseconds.
class Origins {
 public:
  virtual ~Origins() = default;
  /// Of an accepted connection, by its client; it can be asked once. Empty: somebody dialled the
  /// listener itself.
  virtual std::optional<Origin> of_connection(const Endpoint& client) = 0;
  /// Of a datagram, by the address that it arrived at.
  virtual std::optional<Origin> of_datagram(const Endpoint& received_at) = 0;
  /// What these need to be open in the caller's table (base/descriptor_table.h).
  [[nodiscard]] virtual std::vector<int> descriptors() const { return {}; }
};

/// Where an accepted TCP connection was going. For redirect from conntrack (SO_ORIGINAL_DST = 80,
/// linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST = 80, linux/netfilter_ipv6/ip6_tables.h; on a
/// dual-stack socket with an IPv4 peer the IPv4 one is asked), for TPROXY from getsockname().
Result<Endpoint> original_destination(int fd, CaptureMethod method);

/// Where a datagram was going, from the control messages IP_ORIGDSTADDR / IPV6_ORIGDSTADDR (ip(7),
/// ipv6(7)) of a received message.
std::optional<Endpoint> datagram_destination(const msghdr& message);

/// The interface that a connection arrived on, as its accepted socket remembers it; "": none, it is
/// the machine's own. Empty optional: not known.
std::optional<std::string> arrival_interface(int fd);
/// The same by the interface's number in the network namespace of `socket`; 0: none.
std::optional<std::string> arrival_interface(int socket, unsigned index);
/// The same of a datagram that `fd` received, once report_arrival_interface() was asked for.
std::optional<std::string> arrival_interface(int fd, const msghdr& message);
void report_arrival_interface(int fd);

/// The Admission of a connection that is already accepted.
std::unique_ptr<Admission> accepted_client(UniqueFd fd);

}  // namespace shunt
