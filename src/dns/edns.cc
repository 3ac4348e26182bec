// SPDX-License-Identifier: GPL-2.0-only
#include "dns/edns.h"

#include "dns/header_bits.h"
#include "dns/message_parts.h"
#include "dns/name.h"
#include "dns/records.h"

namespace shunt::dns {

std::optional<std::string> forwarded_query(std::uint16_t id, const Message& query) {
  const int flags = (query.recursion_desired ? kRecursionDesired : 0) |
                    (query.checking_disabled ? kCheckingDisabled : 0) |
                    (query.authentic_data ? kAuthenticData : 0);
  auto out = begin_query(id, static_cast<std::uint16_t>(flags), query.question);
  if (!out || !query.edns) return out;
  append_edns(*out, kOwnUdpBytes, query.edns->dnssec_ok, 0);
  set_count(*out, kAdditionalCount, 1);
  return out;
}

std::string without_edns(std::string message) {
  const auto question_end = name_end(message, kHeaderBytes);
  if (!question_end) return message;
  std::size_t end = *question_end + 4;
  std::size_t kept = 0;
  Records records(message, end);
  while (const auto raw = records.next()) {
    if (raw->section == RawRecord::Section::additional) {
      if (raw->type == type::kOpt) break;
      ++kept;
    }
    end = raw->end;
  }
  message.resize(end);
  set_count(message, kAdditionalCount, kept);
  return message;
}

std::string with_edns_for(std::string answer, const Message& query) {
  constexpr std::size_t kOptBytes = 11;
  if (!query.edns || answer.size() + kOptBytes > kLongestMessage) return answer;
  append_edns(answer, kOwnUdpBytes, query.edns->dnssec_ok, 0);
  set_count(answer, kAdditionalCount, word(answer, kAdditionalCount) + std::size_t{1});
  return answer;
}

}  // namespace shunt::dns
