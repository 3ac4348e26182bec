// SPDX-License-Identifier: GPL-2.0-only
// What the relay reports of a flow, and the events that observation turns into log lines.
// Every std::string here may hold peer-supplied bytes: escape before printing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flow/failure.h"
#include "flow/flow.h"

namespace shunt {

enum class EndReason : std::uint8_t {
  closed,          ///< both sides ended in order
  client_reset,    ///< the client sent a reset, or vanished
  upstream_reset,  ///< the upstream sent a reset, or vanished
  idle,            ///< neither said anything for the idle timeout
  shutdown,        ///< shunt is stopping
  refused,         ///< never relayed: see the failure
  evicted,         ///< UDP: gave way to a newer session, the table is full
  rules_changed,   ///< the rules were replaced, and decide otherwise now
  host_changed,    ///< a later HTTP request is one that the rules decide otherwise
};

[[nodiscard]] std::string_view end_reason_text(EndReason reason);

/// How a relayed TCP flow went.
struct Outcome {
  EndReason reason = EndReason::closed;
  std::uint64_t bytes_up = 0;    ///< from the client to the upstream, payload
  std::uint64_t bytes_down = 0;  ///< from the upstream to the client, payload
};

/// A request head was seen.
struct HttpRequest {
  std::uint32_t number = 0;  ///< counts the requests of its flow from 1
  std::string method;
  std::string target;
  std::string host;  ///< "" without one
};

enum class BodyEnd : std::uint8_t {
  complete,
  cut,     ///< the connection ended first
  unseen,  ///< its length cannot be told: it was not followed
};

/// A response is complete, or was cut short. Interim responses (1xx but 101) are not reported.
struct HttpResponse {
  HttpRequest request;  ///< the one it answers, perhaps shortened; number 0: none was seen
  int status = 0;
  std::string reason;
  std::uint64_t body_bytes = 0;  ///< without the framing of chunks
  BodyEnd body_end = BodyEnd::complete;
  std::uint64_t elapsed_ms = 0;  ///< since its request's head was seen
};

/// A TLS client hello was seen and, where it is in clear, the server's choice.
struct TlsHello {
  std::string server_name;                ///< "" without SNI
  std::vector<std::string> alpn_offered;  ///< by the client, in its order
  std::string alpn_chosen;                ///< "" where encrypted (TLS 1.3) or none
  std::uint16_t version = 0;              ///< the server's choice, 0x0304 = TLS 1.3; 0 = not seen
  bool ech = false;    ///< the hello carries ECH (or its GREASE): the name may be a cover name
  bool moved = false;  ///< of QUIC: the hello was another flow's, before its client's NAT moved it
};

/// A query of DNS was answered by shunt itself.
struct DnsAnswer {
  std::string name;        ///< lower case, escaped as in master files
  std::uint16_t type = 0;  ///< QTYPE
  std::uint8_t rcode = 0;
  std::vector<Address> addresses;  ///< that the answer holds, the first few
  bool fake = false;               ///< they stand for the name
};

/// The last word on a flow, TCP or UDP.
struct FlowEnd {
  EndReason reason = EndReason::closed;
  std::optional<ConnectFailure> failure;  ///< set when reason is refused
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::uint64_t datagrams_up = 0;  ///< UDP only
  std::uint64_t datagrams_down = 0;
  std::uint64_t elapsed_ms = 0;
};

/// Where stages report what they saw. Called on a worker's thread; must not block it.
class FlowLog {
 public:
  virtual ~FlowLog() = default;
  /// A flow was captured: the moment to find out whose it is. Each is followed by a flow_end.
  virtual void flow_start(const Flow& /*flow*/) {}
  virtual void http_request(const Flow& flow, const HttpRequest& request) = 0;
  virtual void http_response(const Flow& flow, const HttpResponse& response) = 0;
  virtual void tls_hello(const Flow& flow, const TlsHello& hello) = 0;
  virtual void dns_answer(const Flow& /*flow*/, const DnsAnswer& /*answer*/) {}
  virtual void flow_end(const Flow& flow, const FlowEnd& end) = 0;
};

}  // namespace shunt
