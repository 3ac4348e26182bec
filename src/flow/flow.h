// SPDX-License-Identifier: GPL-2.0-only
// What the stages hand over about one captured connection or UDP session. Plain data, no I/O.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "flow/clock.h"
#include "net/endpoint.h"

namespace shunt {

enum class Protocol : std::uint8_t { tcp, udp };

/// How the traffic was taken over; also says how the original destination is recovered.
enum class CaptureMethod : std::uint8_t {
  tproxy,    ///< getsockname() of the transparent socket; IP(V6)_RECVORIGDSTADDR for UDP
  redirect,  ///< SO_ORIGINAL_DST / IP6T_SO_ORIGINAL_DST; TCP only
  listener,  ///< a plain listener: its `to`, or the destination of a PROXY header
  seccomp,   ///< the program's own connect() said so (capture/call_capture.h)
  ebpf,      ///< programs on a cgroup remember it (Origins, capture/capture.h)
  preload,   ///< the same call, by a library in the program (capture/preload_capture.h)
  ptrace,    ///< the same call, by the program's tracer (capture/call_capture.h)
};

/// The two ends of a flow.
enum class Side : std::uint8_t { client, upstream };

[[nodiscard]] constexpr Side other(Side side) {
  return side == Side::client ? Side::upstream : Side::client;
}

/// Where a name of a flow's destination came from.
enum class NameSource : std::uint8_t {
  none,
  http_host,
  tls_sni,
  quic_sni,
  dns_memory,  ///< of an answer that a resolver gave about the address; the client did not say it
  proxy_header,
  fake_ip,  ///< the original destination is an address that shunt gave the name (dns/fake_pool.h)
};

/// The host that a flow was decided by, for the log.
struct FlowHost {
  std::string name;  ///< "": none was known. Peer-supplied: escape before printing
  NameSource source = NameSource::none;
  bool ech = false;  ///< perhaps a cover name (NameFact::ech)
};

/// What a PROXY header said of a flow beside its two ends. Peer-supplied: escape before printing.
struct Announcement {
  Endpoint sender;        ///< of the header: the other end of shunt's own socket
  Endpoint destination;   ///< as the header has it
  std::string authority;  ///< the name that the client asked for; "": none given, as the others
  std::string alpn;
  std::string unique_id;
};

/// Who made a connection, as the kernel saw it at that moment; the process may be gone by now.
struct ClientProcess {
  pid_t pid = 0;
  pid_t thread = 0;  ///< that called
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t cgroup = 0;  ///< its id in the unified hierarchy
  std::string name;          ///< of the thread, its own choice: escape before printing
};

struct Flow {
  std::uint64_t id = 0;  ///< unique within the process, never reused
  Protocol protocol = Protocol::tcp;
  CaptureMethod method = CaptureMethod::tproxy;
  Endpoint source;                ///< the client, as the capture saw it
  Endpoint original_destination;  ///< where the client meant to go
  Clock::time_point started;
  /// Deadline of dialling: a way out has given up by then. max(): only its own timeouts hold.
  Clock::time_point dial_by = Clock::time_point::max();
  std::string_view way_out = {};  ///< its name once decided, for the log; lives as long as the flow
  std::uint32_t rule = 0;         ///< that decided, from 1; 0: none matched, or not yet
  FlowHost host = {};
  std::string_view listener = {};  ///< name of the plain listener; lives as long as the proxy
  /// Of a plain listener: its own address, that was dialled. Of a datagram that eBPF captured: the
  /// address that stands for its destination.
  Endpoint received_at = {};
  std::shared_ptr<const ClientProcess> process = {};  ///< null: the capture does not know it
  /// Null: no PROXY header told source and destination.
  std::shared_ptr<const Announcement> announced = {};

  /// Milliseconds that a step of dialling may take: `most_ms`, less where dial_by is nearer, 0 when
  /// it has passed.
  [[nodiscard]] std::uint32_t dial_ms(std::uint32_t most_ms) const {
    return dial_by == Clock::time_point::max() ? most_ms : std::min(ms_until(dial_by), most_ms);
  }
};

class NameResolver;  // flow/name_resolver.h

/// What is known of a flow's destination beside its address.
struct Hints {
  std::string host;  ///< peer-supplied: escape before printing
  NameSource source = NameSource::none;
  /// Not null where the name is the destination: the original one stands for it and leads nowhere.
  /// Outlives the flow.
  NameResolver* resolver = nullptr;
};

}  // namespace shunt
