// SPDX-License-Identifier: GPL-2.0-only
#include "dns/answer_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/counters.h"

namespace shunt {
namespace {

/// All that an answer depends on.
std::string key_of(const dns::Message& query) {
  const auto flags = (query.edns ? 1 : 0) | (query.edns && query.edns->dnssec_ok ? 2 : 0) |
                     (query.checking_disabled ? 4 : 0) | (query.recursion_desired ? 8 : 0) |
                     (query.authentic_data ? 16 : 0);
  return fmt::format("{} {} {} {}", query.question.type, query.question.dns_class, flags,
                     query.question.name);
}

}  // namespace

std::string answer_for(std::string answer, std::string_view query_bytes,
                       const dns::Message& query) {
  const auto question =
      query_bytes.substr(dns::kHeaderBytes, query.question_end - dns::kHeaderBytes);
  answer.replace(dns::kHeaderBytes, question.size(), question);
  dns::set_id(answer, query.id);
  return answer;
}

std::optional<std::string> AnswerCache::find(std::string_view query_bytes,
                                             const dns::Message& query, Time now) {
  const auto found = by_key_.find(key_of(query));
  if (found == by_key_.end()) return std::nullopt;
  const auto entry = found->second;
  if (entry->expires <= now) {
    forget(entry);
    return std::nullopt;
  }
  entries_.splice(entries_.end(), entries_, entry);
  std::string answer = entry->message;
  const auto age = std::chrono::floor<std::chrono::seconds>(now - entry->stored).count();
  dns::age(answer, static_cast<std::uint32_t>(age));
  return answer_for(std::move(answer), query_bytes, query);
}

void AnswerCache::store(const dns::Message& query, std::string_view answer_bytes,
                        const dns::Message& answer, Time now) {
  const bool known = answer.rcode == static_cast<std::uint8_t>(dns::Rcode::no_error) ||
                     answer.rcode == static_cast<std::uint8_t>(dns::Rcode::name_error);
  const std::uint32_t ttl_s = std::min(answer.ttl_s.value_or(0), limits::kDnsCachedS);
  if (!known || answer.truncated || ttl_s == 0 || answer_bytes.size() > most_bytes_) return;
  std::string key = key_of(query);
  if (const auto old = by_key_.find(key); old != by_key_.end()) forget(old->second);
  while (entries_.size() >= most_ || bytes_ + answer_bytes.size() > most_bytes_) {
    count(Counter::dns_answers_forgotten);
    forget(entries_.begin());
  }
  entries_.push_back({.key = std::move(key),
                      .message = std::string(answer_bytes),
                      .stored = now,
                      .expires = now + std::chrono::seconds(ttl_s)});
  bytes_ += answer_bytes.size();
  by_key_.emplace(entries_.back().key, std::prev(entries_.end()));
}

void AnswerCache::forget(Entries::iterator entry) {
  bytes_ -= entry->message.size();
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

}  // namespace shunt
