// SPDX-License-Identifier: GPL-2.0-only
// The words that stand for enumerators in JSON lines. Frozen with `v`: docs/json.schema.json.
#pragma once

#include <string>
#include <string_view>

#include "flow/record.h"

namespace shunt {

[[nodiscard]] std::string_view reason_token(EndReason reason);
[[nodiscard]] std::string_view failure_token(ConnectReason reason);
[[nodiscard]] std::string_view body_token(BodyEnd body_end);
[[nodiscard]] std::string_view capture_token(CaptureMethod method);
/// "" for none.
[[nodiscard]] std::string_view name_source_token(NameSource source);
/// "TLS 1.3"; "" for 0, "0x7f17" for what has no name.
[[nodiscard]] std::string tls_version_text(std::uint16_t version);
/// "AAAA"; "TYPE64999" (RFC 3597) for what has no name here.
[[nodiscard]] std::string dns_type_text(std::uint16_t type);
/// "NOERROR"; "RCODE11" for what has no name here.
[[nodiscard]] std::string dns_rcode_text(std::uint8_t rcode);

}  // namespace shunt
