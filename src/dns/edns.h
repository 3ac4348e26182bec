// SPDX-License-Identifier: GPL-2.0-only
// EDNS goes from hop to hop (RFC 6891 section 6.1.1): what a client's OPT record says (a cookie, a
// wish for NSID, its subnet) it says to whom it asked, and what a server's says is meant for
// whoever asked that. An answer that is kept for all, or asked for once for several, so is asked
// for with an OPT record of shunt's own, and given with another.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dns/message.h"

namespace shunt::dns {

/// What is asked in the place of `query`: its question, RD, CD and AD, and where it had EDNS an OPT
/// record with its DO, without options. Equal for all queries that one answer will do for. Nothing
/// where the name is none.
[[nodiscard]] std::optional<std::string> forwarded_query(std::uint16_t id, const Message& query);

/// A message that parse() took, up to the OPT record of its additional section: servers put it
/// last, and what may stand behind it is no part of the answer.
[[nodiscard]] std::string without_edns(std::string message);

/// `answer`, which has no OPT record, with one of shunt's own where `query` had one (RFC 6891
/// section 7), with its DO (RFC 3225 section 3).
[[nodiscard]] std::string with_edns_for(std::string answer, const Message& query);

}  // namespace shunt::dns
