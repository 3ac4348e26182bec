// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <coroutine>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "flow/facts.h"
#include "flow/flow.h"
#include "net/raw_udp.h"
#include "net/timer_wheel.h"
#include "net/watched_fd.h"
#include "proxy/dns_watch.h"
#include "proxy/fair_shares.h"
#include "proxy/policy.h"
#include "proxy/quic_guard.h"
#include "proxy/udp_mapping.h"
#include "sniff/quic.h"

namespace shunt {

class UdpServer;
struct PlainListener;

/// A socket that clients' datagrams arrive at.
struct UdpListener {
  WatchedFd fd;
  Family family = Family::ipv4;                ///< of the socket
  std::shared_ptr<const PlainListener> plain;  ///< null: captured traffic
};

/// One client socket talking to one destination through a mapping (proxy/udp_mapping.h).
///
///   dialling → open → ended        decided, then mapped; datagrams wait in `queued` meanwhile
///   dialling → answering → ended   queries that shunt answers itself: no upstream, no socket
///   dialling → refused → ended     stays for a moment, so that not every datagram is a new attempt
///
/// Shared by the table and by the coroutine that reads the upstream; both on the loop's thread.
struct UdpSession {
  enum class State : std::uint8_t { dialling, open, answering, refused, ended };

  struct Queued {
    std::string payload;
    std::uint8_t tos;
    bool to_client = false;
  };

  /// Finds its session again; the session finds its server.
  struct IdleTimer : Timer {
    IdleTimer(UdpSession* the_session, Callback callback) : Timer(callback), session(the_session) {}
    UdpSession* session;
  };

  UdpSession(UdpServer& the_server, Timer::Callback idle)
      : server(the_server), idle_timer(this, idle) {}

  UdpServer& server;
  Flow flow;
  Endpoint sender;  ///< of the datagrams: the source, or who put a PROXY header before them
  const UdpListener* listener = nullptr;  ///< that answers; null: other sockets do. Outlives this
  std::shared_ptr<const Policy> policy;   ///< that decided it
  Facts facts;
  bool decided = false;
  std::coroutine_handle<> decision = nullptr;  ///< waits for more datagrams (decide_udp.h)
  std::unique_ptr<QuicHelloReader> hello;      ///< while more of a QUIC client's may be read
  std::unique_ptr<QuicGuard> guard;            ///< of later connections, where rules name hosts
  std::unique_ptr<DnsWatch> dns;               ///< of a session of DNS whose answers are remembered
  State state = State::dialling;
  bool quic = false;          ///< began with a QUIC Initial: nothing of it may be fragmented
  bool replied = false;       ///< the upstream has answered at least once
  bool awaiting = false;      ///< the last datagram was the client's
  Tick asked_at = 0;          ///< when that came
  bool trains_down = true;    ///< a plain listener's route takes UDP_SEGMENT
  std::size_t questions = 0;  ///< while answering: that wait for their answers
  bool permanent = false;     ///< refused for good: asking again cannot help
  std::optional<Undeliverable> refusal;  ///< what the client of a refused session is told
  bool unsolicited = false;  ///< its peer began it, and the client has not sent to that one yet
  bool hairpin = false;      ///< its destination is another client's mapping, on this machine
  bool started = false;      ///< the log knows of it
  std::shared_ptr<UdpMapping> mapping;  ///< null before it is decided, and once it is refused
  std::list<UdpSession*>::iterator in_mapping;
  std::list<UdpSession*>::iterator in_unsolicited;
  std::string header;  ///< goes before each datagram sent through a shared relay
  std::vector<Queued> queued;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::uint64_t datagrams_up = 0;
  std::uint64_t datagrams_down = 0;
  IdleTimer idle_timer;

  FairShares<UdpSession>::Share share;
};

}  // namespace shunt
