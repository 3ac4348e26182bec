// SPDX-License-Identifier: GPL-2.0-only
// What is known of a flow when a decision about it is asked for. Some facts are there at once,
// others come later or never; policy/ says which it still needs. Plain data; its texts may hold
// peer-supplied bytes: escape before printing.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "flow/app_protocol.h"
#include "flow/flow.h"
#include "net/endpoint.h"

namespace shunt {

enum class FactState : std::uint8_t {
  unknown,  ///< may still come
  known,
  never,  ///< will not come: it satisfies neither a term nor its negation
};

/// The host name that the flow gives for its destination.
struct NameFact {
  FactState state = FactState::unknown;
  std::string name;  ///< lower case, without a final dot (sniff/identify.h)
  NameSource source = NameSource::none;
  /// The name is tied to the destination by something other than the client's word: DNS memory, or
  /// a lookup of our own.
  bool verified = false;
  /// The hello carries ECH, or its GREASE, which looks the same: the name may be a cover name, and
  /// the one that is meant is encrypted.
  bool ech = false;
};

struct AppFact {
  FactState state = FactState::unknown;
  AppProtocol app = AppProtocol::other;
  /// What the first bytes begin as (http, tls or quic) where they cannot be read: a server may take
  /// them for that, and nobody here knows what they ask for.
  std::optional<AppProtocol> unread = {};
};

/// The first request of HTTP/1.
struct HttpFact {
  FactState state = FactState::unknown;
  std::string method;  ///< as sent
  std::string path;    ///< of the target, without the query
};

/// The process on this machine that the flow belongs to. `state` is about the process as a whole:
/// known says that it was found, never that the flow is not this machine's, or the process is gone.
struct ProcessFact {
  FactState state = FactState::unknown;
  std::string name = {};                  ///< as the kernel has it (comm, 15 bytes)
  std::optional<std::uint32_t> uid = {};  ///< known before the rest where it is set
  std::optional<std::uint32_t> gid = {};
  std::optional<std::string> exe = {};        ///< absolute path; empty optional: could not be read
  std::optional<std::string> cgroup = {};     ///< path in the cgroup2 hierarchy, "/a/b"
  std::optional<std::uint32_t> classid = {};  ///< of its cgroup in net_cls; empty: it is in none
  std::optional<std::string> unit = {};       ///< "nginx.service"; "": belongs to none
  std::optional<std::string> container = {};  ///< name or ID; "": belongs to none
};

struct Facts {
  Endpoint client;
  Endpoint destination;  ///< the original one
  Protocol protocol = Protocol::tcp;
  /// That the flow arrived on; "": on none, it is the machine's own. Empty optional: not known.
  std::optional<std::string> interface = {};
  std::uint32_t minute_of_week = 0;  ///< local time, from Monday 00:00
  NameFact name = {};
  /// Names that a request gave side by side: `name` is none of them, and each may deny.
  std::vector<std::string> rival_names = {};
  AppFact app = {};
  HttpFact http = {};
  ProcessFact process = {};
};

/// For Facts::minute_of_week. Reads the time zone.
[[nodiscard]] std::uint32_t minute_of_week(std::time_t when);

}  // namespace shunt
