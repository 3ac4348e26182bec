// SPDX-License-Identifier: GPL-2.0-only
// What the first bytes of a client say, without consuming them. Pure; meant for bytes that were
// peeked at, called again when more of them are there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flow/app_protocol.h"
#include "flow/flow.h"
#include "sniff/http1_head.h"
#include "sniff/quic.h"
#include "sniff/tls.h"

namespace shunt {

enum class FirstBytes : std::uint8_t { need_more, http1, tls, other };

[[nodiscard]] FirstBytes identify(std::string_view bytes);

struct NamePeek {
  enum class State : std::uint8_t { match, none, need_more };
  State state = State::need_more;
  std::string name = {};  ///< lower case, without port and final dot; a valid host name, no address
  NameSource source = NameSource::none;
  bool ech = false;                      ///< the name may be a cover name
  std::vector<std::string> rivals = {};  ///< the names of a request that gives two; `name` is none
  std::optional<AppProtocol> unread = {};  ///< as AppFact::unread
};

/// The host name that the client's first bytes give. A name that two fields give differently, or
/// that no host can have, is none. Bounded by limits::kHttpHeadBytes and kTlsHelloBytes: what is
/// longer is none, and unread.
[[nodiscard]] NamePeek peek_name(std::string_view bytes);

/// The same of a QUIC client's hello, as far as it was read.
[[nodiscard]] NamePeek peek_name(const QuicHelloReader& reader);
/// And of a TLS client's.
[[nodiscard]] NamePeek peek_name(const TlsHelloReader& reader);

/// The name that an HTTP/1 request asks for, in the form of NamePeek::name. Empty: none, or
/// several.
[[nodiscard]] std::optional<std::string> requested_host(const HttpHead& head);

/// The names that it asks for side by side, in the same form; none where it is one.
[[nodiscard]] std::vector<std::string> rival_hosts(const HttpHead& head);

/// Bytes worth peeking at: enough for the longest head or hello that peek_name() accepts.
[[nodiscard]] std::size_t peek_bytes();

}  // namespace shunt
