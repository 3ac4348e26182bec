// SPDX-License-Identifier: GPL-2.0-only
// The facts for rules that a client's first bytes hold. Pure; the bytes were peeked at, and may be
// shown again when more of them are there: what needs more stays unknown.
#pragma once

#include <string_view>

#include "flow/facts.h"
#include "sniff/http1_head.h"
#include "sniff/quic.h"
#include "sniff/tls.h"

namespace shunt {

/// Of a TCP flow: `bytes` is everything since its beginning, at most peek_bytes().
void learn_first_bytes(std::string_view bytes, Facts& facts);
/// Of a UDP flow: its first datagram, which settles all but the name of QUIC.
void learn_first_datagram(std::string_view payload, Facts& facts);
/// Of a flow of QUIC: its client hello, as far as it was read.
void learn_quic_hello(const QuicHelloReader& reader, Facts& facts);
/// Of a hello of TLS that came late, as far as it was read. The name is not verified.
void learn_tls_hello(const TlsHelloReader& reader, Facts& facts);
/// Of a later request on the same connection. The name is not verified.
void learn_request(const HttpHead& head, Facts& facts);

/// Nothing more will be seen: what is unknown of them never comes.
void settle_first_bytes(Facts& facts);

}  // namespace shunt
