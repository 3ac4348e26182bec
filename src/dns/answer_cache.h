// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "dns/limits.h"
#include "dns/message.h"

namespace shunt {

/// Answers of a server for as long as their TTLs say, at most limits::kDnsCachedS. The one used
/// least recently goes when the limits are hit. They are for whoever asks: without EDNS
/// (dns/edns.h).
class AnswerCache {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit AnswerCache(std::size_t most = limits::kDnsCached,
                       std::size_t most_bytes = limits::kDnsCachedBytes)
      : most_(most), most_bytes_(most_bytes) {}

  /// An answer to `query`, with its id and question, its TTLs as they are now.
  [[nodiscard]] std::optional<std::string> find(std::string_view query_bytes,
                                                const dns::Message& query, Time now);
  /// Keeps `answer`, which parse() gave of `answer_bytes`, where it may be kept: an answer or a
  /// name's absence, whole, with a TTL.
  void store(const dns::Message& query, std::string_view answer_bytes, const dns::Message& answer,
             Time now);
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string key;
    std::string message;
    Time stored;
    Time expires;
  };
  using Entries = std::list<Entry>;  // the least recently used first

  void forget(Entries::iterator entry);

  std::size_t most_;
  std::size_t most_bytes_;
  std::size_t bytes_ = 0;
  Entries entries_;
  std::unordered_map<std::string_view, Entries::iterator> by_key_;  // views of Entry::key
};

/// `answer` with the id and the question of a query, as its client wrote them: the letters of a
/// name may differ in case.
[[nodiscard]] std::string answer_for(std::string answer, std::string_view query_bytes,
                                     const dns::Message& query);

}  // namespace shunt
