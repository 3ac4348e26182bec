// SPDX-License-Identifier: GPL-2.0-only
// A rule as somebody may write it: read, or refused with a mistake that lies in its text and can be
// shown. What was read points at its own text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "rule/parse.h"

namespace {

using namespace shunt;

void check(bool holds) {
  if (!holds) std::abort();
}

void check_span(TextSpan span, std::string_view text) {
  check(span.first + std::size_t{span.length} <= text.size());
}

void check_mistake(const RuleMistake& mistake, std::string_view text) {
  check(mistake.first <= text.size() && !mistake.message.empty());
  const std::string file_line = "  \"" + std::string(text) + "\",";
  for (const RulePlace& place :
       {RulePlace{.file = "--rule", .line_text = {}},
        RulePlace{.file = "a.toml", .line = 7, .column = 4, .line_text = file_line}}) {
    const Error error = mistake_error(mistake, text, place);
    check(error.place.contains('^'));
    for (const char byte : error.place) {
      check(static_cast<unsigned char>(byte) >= 0x20 || byte == '\n');
    }
  }
}

void check_terms(const std::vector<Term>& terms, std::string_view text) {
  for (const Term& term : terms) {
    check_span(term.span, text);
    check_span(term.key_span, text);
    check(!term.values.empty());
    for (const Value& value : term.values) {
      check_span(value.span, text);
      check(value.low <= value.high);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto rule = parse_rule(text);
  if (rule) {
    check(rule->text == text && !rule->steps.empty());
    check_terms(rule->terms, text);
  } else {
    check_mistake(rule.error(), text);
  }
  const auto terms = parse_terms(text);
  if (terms) {
    check_terms(*terms, text);
  } else {
    check_mistake(terms.error(), text);
  }
  return 0;
}
