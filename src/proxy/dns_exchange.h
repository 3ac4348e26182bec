// SPDX-License-Identifier: GPL-2.0-only
// One question to a server of DNS, and its answer, through a way out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "dns/message.h"
#include "egress/dial.h"
#include "egress/tls_client.h"
#include "egress/way_out.h"

namespace shunt {

/// The id of a question: one that nobody foretells who does not see it (RFC 5452 section 9.2). A
/// client knows its own, and could send false answers from elsewhere that are kept for all.
[[nodiscard]] std::uint16_t random_query_id();

/// Whether `answer_bytes` answer that question. A peer may say what it likes: nothing else of an
/// answer is believed before.
[[nodiscard]] std::optional<dns::Message> answer_to(std::string_view answer_bytes,
                                                    const dns::Question& question);

/// What a query needs on its way. The arguments of the functions below outlive their tasks.
struct DnsQuestion {
  std::string_view bytes;
  const dns::Message& query;
};

/// To flow.original_destination, by a datagram of its own, and by a connection of its own where the
/// way out carries no UDP or the answer was truncated. Nothing: there was no answer in time.
Task<std::optional<std::string>> ask_once(EventLoop& loop, const WayOut& way_out, const Flow& flow,
                                          DnsQuestion question, Deadline deadline);
/// By a datagram only; an answer may be truncated. It goes up with an unpredictable id of its own;
/// the answer has the query's again.
Task<std::optional<std::string>> ask_by_datagram(EventLoop& loop, const WayOut& way_out,
                                                 const Flow& flow, DnsQuestion question,
                                                 Deadline deadline);

}  // namespace shunt
