// SPDX-License-Identifier: GPL-2.0-only
// Sends replies to clients so that they come from where the client sent to.
//
// Two kinds of transparent socket can do that. A raw one (net/raw_udp.h) serves every source and
// holds no port: no daemon on this host is ever robbed, and none that starts later finds its port
// taken. A UDP socket bound to the source takes trains (UDP_SEGMENT), which is what bulk downloads
// by QUIC live on, but holds the port: a daemon that binds the wildcard address without
// SO_REUSEADDR fails while it exists. Single datagrams cost the same by either (16 us of CPU for a
// question and its answer, measured at 64 and 1,200 bytes, v4 and v6). So replies leave by the raw
// socket, and a source gets a bound one when trains come from it, for as long as they do
// (limits::kUdpReplyIdleMs). It is not connected: TPROXY prefers a connected socket to the
// listener, and it would steal the client's next datagrams (net/ipv4/netfilter/nf_tproxy_ipv4.c).
//
// An address of this host itself never gets a bound socket (ReplySockets::bound() refuses it): that
// one would be found before the daemon's on the wildcard address. Where raw sockets cannot be made,
// every other source is bound.
#pragma once

#include <list>
#include <memory>
#include <span>
#include <unordered_map>

#include "base/log.h"
#include "base/udp_limits.h"
#include "capture/capture.h"
#include "net/event_loop.h"
#include "net/raw_udp.h"
#include "net/udp_socket.h"
#include "proxy/fd_budget.h"

namespace shunt {

class UdpReplies {
 public:
  /// `fds` may be null. All of it belongs to the loop's thread.
  UdpReplies(EventLoop& loop, std::shared_ptr<ReplySockets> sockets, FdBudget* fds,
             std::size_t most_bound);
  ~UdpReplies();
  UdpReplies(const UdpReplies&) = delete;
  UdpReplies& operator=(const UdpReplies&) = delete;

  struct Way {
    Endpoint source;  ///< where the client sent to
    Endpoint client;
    bool fragment = true;  ///< see set_fragmentation()
    bool hairpin = false;  ///< `source` is another client's mapping, on this machine
  };
  SendOutcome send(const Way& way, std::span<const Datagram> datagrams);
  /// Sends an ICMP error, where a raw socket can be had and the rate allows it.
  void report(Undeliverable what, const Endpoint& client, const Endpoint& destination,
              std::uint32_t mtu);
  [[nodiscard]] std::size_t bound_sockets() const { return bound_.size(); }

 private:
  struct Bound {
    Endpoint source;
    UniqueFd fd;  // not valid: the port is taken, do not try again for a while
    Tick last_used = 0;
    bool trains = true;
    bool fragments = true;
  };
  using BoundList = std::list<Bound>;  // the least recently used first
  struct Sweep : Timer {
    Sweep(UdpReplies* the_owner, Callback callback) : Timer(callback), owner(the_owner) {}
    UdpReplies* owner;
  };

  RawUdp& raw(Family family);
  Bound* bound(const Endpoint& source, bool worthwhile);
  Bound* bind_new(const Endpoint& source);
  void give_up(BoundList::iterator entry);
  static void sweep(Timer& timer);
  bool may_report();

  EventLoop& loop_;
  std::shared_ptr<ReplySockets> sockets_;
  FdBudget* fds_;
  std::size_t most_bound_;
  RawUdp raw_[2];
  bool raw_tried_[2] = {false, false};
  BoundList bound_;
  std::unordered_map<Endpoint, BoundList::iterator, EndpointHash> by_source_;
  DatagramSender sender_;
  Sweep sweep_;
  Tick report_window_ = 0;
  unsigned reports_in_window_ = 0;
  RateLimitedLog warnings_;
};

}  // namespace shunt
