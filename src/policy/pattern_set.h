// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <re2/re2.h>
#include <re2/set.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shunt {

/// A pattern of the user's, compiled with a bound on its memory. The text that does not compile and
/// why are in the message.
struct PatternProblem {
  std::string message;
};
[[nodiscard]] std::expected<std::unique_ptr<RE2>, PatternProblem> compile_pattern(
    std::string_view pattern, bool case_sensitive);

/// All host patterns of a set of rules, looked for in one pass over a name (RE2::Set: time linear
/// in the name, whatever the patterns). Immutable once built; any thread.
class PatternSet {
 public:
  PatternSet();
  /// `pattern` has compiled by itself.
  void add(std::string_view text, std::unique_ptr<RE2> pattern, std::uint32_t term);
  /// False: the patterns need too much memory together; they are then looked for one by one.
  bool build();

  [[nodiscard]] bool empty() const { return terms_.empty(); }
  /// Appends the terms with a pattern that is found in `text`. `scratch` saves an allocation.
  void find(std::string_view text, std::vector<std::uint32_t>& terms,
            std::vector<int>& scratch) const;

 private:
  RE2::Set set_;
  std::vector<std::unique_ptr<RE2>> patterns_;
  std::vector<std::uint32_t> terms_;
  bool together_ = false;
};

}  // namespace shunt
