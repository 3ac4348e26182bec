// SPDX-License-Identifier: GPL-2.0-only
// What `shunt rules` shows, a page at a time: the rules of a large configuration do not fit one
// answer of the control socket. The daemon writes the lines, the command prints them.
//
//   request  rules text 1          the lines of rule 1 and those behind it; json: as JSON
//   answer   "4711 501"            the state of the rules that the page is of, and where the next
//                                  one begins; 0: this was the last
//            then one line for each rule; the default stands last
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/ruleset.h"

namespace shunt::cli {

struct RuleHits {
  std::uint64_t total = 0;
  std::uint64_t kernel = 0;  ///< of `total`: flows that the kernel sent direct by itself
  bool in_kernel = false;    ///< it decides about this rule now
  std::chrono::system_clock::time_point since;
};

/// Lines for rules from `first` on (size() + 1: the default), until `bytes` are full; at least one.
/// `hits` are those of each rule, of the default at [0]. Pure but for the time zone.
[[nodiscard]] std::vector<std::string> rule_lines(const Ruleset& rules,
                                                  const std::vector<RuleHits>& hits, bool json,
                                                  std::uint32_t first, std::size_t bytes);
[[nodiscard]] std::string_view rule_lines_heading();

struct RulesPage {
  std::uint64_t state = 0;
  std::uint32_t next = 0;  ///< 0: nothing follows
};
[[nodiscard]] std::string page_text(const RulesPage& page);
[[nodiscard]] std::optional<RulesPage> page_of(std::string_view text);

}  // namespace shunt::cli
