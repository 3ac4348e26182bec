// SPDX-License-Identifier: GPL-2.0-only
#include "policy/pattern_set.h"

#include <utility>

#include "base/limits.h"

namespace shunt {
namespace {

RE2::Options options(bool case_sensitive, std::size_t memory) {
  RE2::Options out;
  out.set_log_errors(false);
  out.set_never_capture(true);
  out.set_case_sensitive(case_sensitive);
  out.set_encoding(RE2::Options::EncodingLatin1);  // bytes: what peers send need not be UTF-8
  out.set_max_mem(static_cast<std::int64_t>(memory));
  return out;
}

re2::StringPiece piece(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::expected<std::unique_ptr<RE2>, PatternProblem> compile_pattern(std::string_view pattern,
                                                                    bool case_sensitive) {
  if (pattern.size() > limits::kPatternBytes) {
    return std::unexpected(PatternProblem{"it is too long"});
  }
  auto compiled =
      std::make_unique<RE2>(piece(pattern), options(case_sensitive, limits::kPatternMemory));
  if (!compiled->ok()) return std::unexpected(PatternProblem{compiled->error()});
  return compiled;
}

PatternSet::PatternSet() : set_(options(false, limits::kPatternSetMemory), RE2::UNANCHORED) {}

void PatternSet::add(std::string_view text, std::unique_ptr<RE2> pattern, std::uint32_t term) {
  set_.Add(piece(text), nullptr);
  patterns_.push_back(std::move(pattern));
  terms_.push_back(term);
}

bool PatternSet::build() {
  together_ = !empty() && set_.Compile();
  return together_ || empty();
}

void PatternSet::find(std::string_view text, std::vector<std::uint32_t>& terms,
                      std::vector<int>& scratch) const {
  if (empty()) return;
  RE2::Set::ErrorInfo error{RE2::Set::kNoError};
  if (together_) {
    if (set_.Match(piece(text), &scratch, &error)) {
      for (const int at : scratch) terms.push_back(terms_[static_cast<std::size_t>(at)]);
      return;
    }
    if (error.kind == RE2::Set::kNoError) return;
  }
  // The automaton of all together ran out of memory on this text. One by one always ends.
  for (std::size_t i = 0; i < patterns_.size(); ++i) {
    if (RE2::PartialMatch(piece(text), *patterns_[i])) terms.push_back(terms_[i]);
  }
}

}  // namespace shunt
