// SPDX-License-Identifier: GPL-2.0-only
// The facts for rules that a client's first bytes hold. Pure; the bytes were peeked at, and may be
// shown again when more of them are there: what needs more stays unknown.
#pragma once

#include <string_view>

#include "flow/facts.h"
#include "sniff/http1_head.h"

namespace shunt {

/// Of a TCP flow: `bytes` is everything since its beginning, at most peek_bytes().
void learn_first_bytes(std::string_view bytes, Facts& facts);
/// Of a UDP flow: its first datagram, which settles them all. Names are not looked for.
void learn_first_datagram(std::string_view payload, Facts& facts);
/// Of a later request on the same connection. The name is not verified.
void learn_request(const HttpHead& head, Facts& facts);

/// Nothing more will be seen: what is unknown of them never comes.
void settle_first_bytes(Facts& facts);

/// A client's first QUIC packet: long header, fixed bit, a version, and the size that a datagram
/// with an Initial must have (RFC 9000 sections 14.1 and 17.2).
[[nodiscard]] bool is_quic_initial(std::string_view payload);

}  // namespace shunt
