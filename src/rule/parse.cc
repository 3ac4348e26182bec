// SPDX-License-Identifier: GPL-2.0-only
#include "rule/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "base/limits.h"
#include "base/suggest.h"
#include "rule/values.h"

namespace shunt {
namespace {

constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kArrow = "->";
constexpr std::string_view kElse = "else";
constexpr std::string_view kNot = "not";
constexpr std::string_view kConnect = "connect";

struct Word {
  std::string_view text;
  TextSpan span;
};

TextSpan span_of(std::size_t first, std::size_t end) {
  return {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(end - first)};
}

TextSpan joined(TextSpan from, TextSpan until) {
  return {from.first, until.first + until.length - from.first};
}

/// Reads a rule from left to right.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  void skip_blanks() { at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size()); }
  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }
  [[nodiscard]] bool at(std::string_view what) const { return text_.substr(at_).starts_with(what); }
  void skip(std::size_t bytes) { at_ += bytes; }
  /// Nothing, here.
  [[nodiscard]] TextSpan here() const { return span_of(at_, at_); }

  /// Up to the next blank, comma or arrow; empty where one of them stands here.
  Word bare() {
    const std::size_t first = at_;
    const std::size_t stop = std::min(text_.find_first_of(" \t,", at_), text_.size());
    const std::string_view word = text_.substr(first, stop - first);
    const std::string_view text = word.substr(0, word.find(kArrow));
    at_ += text.size();
    return {text, span_of(first, at_)};
  }
  [[nodiscard]] Word peek_bare() const { return Reader(*this).bare(); }

  /// One value: bare or quoted, with or without a sigil.
  Parsed<RawValue> value();

 private:
  Parsed<RawValue> quoted(std::size_t first, char sigil);

  std::string_view text_;
  std::size_t at_ = 0;
};

Parsed<RawValue> Reader::value() {
  const std::size_t first = at_;
  const char sigil = at("~") || at("@") ? text_[at_] : '\0';
  if (sigil != '\0') skip(1);
  if (at("\"")) return quoted(first, sigil);
  const Word word = bare();
  const TextSpan span = span_of(first, at_);
  if (word.text.contains('"')) {
    return mistake_at(span, "a quote stands in the middle of a value");
  }
  return RawValue{.text = std::string(word.text), .span = span, .sigil = sigil};
}

/// In a pattern a backslash is RE2's; elsewhere it protects a quote or a backslash.
Parsed<RawValue> Reader::quoted(std::size_t first, char sigil) {
  skip(1);
  std::string text;
  while (!at_end() && !at("\"")) {
    const bool escape = at("\\");
    const bool known = at("\\\"") || at("\\\\");
    if (escape && !known && sigil != '~') {
      auto mistake = mistake_at(span_of(at_, at_ + 1), "a lone backslash in quotes");
      mistake.error().help = R"(write \\ for a backslash and \" for a quote)";
      return mistake;
    }
    if (escape && known) {
      if (sigil == '~') text += '\\';
      skip(1);
    }
    text += text_[at_];
    skip(1);
  }
  if (at_end()) return mistake_at(span_of(first, first + 1), "a quote that is never closed");
  skip(1);
  return RawValue{
      .text = std::move(text), .span = span_of(first, at_), .sigil = sigil, .quoted = true};
}

Parsed<void> check_more_values(const Term& term, TextSpan at) {
  if (term.values.size() < limits::kTermValues) return {};
  auto mistake = mistake_at(at, fmt::format("more than {} values of one \"{}\"",
                                            limits::kTermValues, key_name(term.key)));
  mistake.error().help = "put them into a file, one a line, and write @FILE";
  return mistake;
}

std::unexpected<RuleMistake> missing_value(std::string_view key, TextSpan span) {
  return mistake_at(span, fmt::format("a value of \"{}\" is missing here", key));
}

Parsed<void> read_values(Reader& reader, Term& term) {
  while (true) {
    reader.skip_blanks();
    const TextSpan here = reader.here();
    auto raw = reader.value();
    if (!raw) return std::unexpected(std::move(raw).error());
    if (raw->text.empty()) return missing_value(key_name(term.key), here);
    if (auto room = check_more_values(term, here); !room) return room;
    auto value = typed_value(term.key, *raw);
    if (!value) return std::unexpected(std::move(value).error());
    term.values.push_back(*std::move(value));
    if (!reader.at(",")) return {};
    reader.skip(1);
  }
}

/// "mon", "mon-fri", "sat-mon" as bits; empty where it is no day.
std::optional<unsigned> day_bits(std::string_view word) {
  const auto dash = word.find('-');
  const auto from = weekday(word.substr(0, dash));
  const auto until = dash == std::string_view::npos ? from : weekday(word.substr(dash + 1));
  if (!from || !until) return std::nullopt;
  unsigned bits = 0;
  for (unsigned day = *from;; day = (day + 1) % 7) {
    bits |= 1U << day;
    if (day == *until) return bits;
  }
}

bool looks_like_days(std::string_view word) {
  return !word.empty() && (word.front() < '0' || word.front() > '9');
}

Parsed<unsigned> read_days(Reader& reader) {
  constexpr unsigned kEveryDay = 0x7f;
  unsigned days = 0;
  if (!looks_like_days(reader.peek_bare().text)) return kEveryDay;
  while (true) {
    const Word word = reader.bare();
    const auto bits = day_bits(word.text);
    if (!bits) {
      return mistake_at(word.span, fmt::format("\"{}\" is no day of the week: mon, tue, wed, thu, "
                                               "fri, sat, sun, or two of them as in mon-fri",
                                               word.text));
    }
    days |= *bits;
    if (!reader.at(",")) return days;
    reader.skip(1);
    reader.skip_blanks();
  }
}

/// `time [DAYS] [HH:MM-HH:MM{,…}]`: the one term whose value may be two words.
Parsed<void> read_times(Reader& reader, Term& term) {
  reader.skip_blanks();
  const std::size_t first = reader.here().first;
  if (reader.peek_bare().text.empty()) return missing_value("time", reader.here());
  auto days = read_days(reader);
  if (!days) return std::unexpected(std::move(days).error());
  std::size_t end = reader.here().first;
  std::vector<NumberRange> ranges;
  reader.skip_blanks();
  bool more = !reader.peek_bare().text.empty() && !looks_like_days(reader.peek_bare().text);
  if (!more) ranges = *week_minutes(*days, "00:00-24:00");
  while (more) {
    const Word word = reader.bare();
    const auto minutes = week_minutes(*days, word.text);
    if (!minutes) {
      return mistake_at(word.span,
                        fmt::format("\"{}\" is no span of time, as in 08:00-17:30", word.text));
    }
    ranges.insert(ranges.end(), minutes->begin(), minutes->end());
    end = reader.here().first;
    more = reader.at(",");
    if (more) reader.skip(1);
    if (more) reader.skip_blanks();
  }
  for (const NumberRange& range : ranges) {
    Value value{.form = ValueForm::range, .span = span_of(first, end), .text = {}, .network = {}};
    value.low = range.low;
    value.high = range.high;
    term.values.push_back(std::move(value));
  }
  return {};
}

std::unexpected<RuleMistake> unknown_term(const Word& word) {
  if (word.text.empty()) return mistake_at(word.span, "a term is missing here");
  if (word.text.front() >= '0' && word.text.front() <= '9') {
    return mistake_at(word.span, fmt::format("unknown term \"{}\": commas separate the values of "
                                             "one term",
                                             word.text));
  }
  // What other programs call them.
  constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kOtherNames = {
      {{"protocol", "proto"},
       {"interface", "in"},
       {"iface", "in"},
       {"src", "client"},
       {"source", "client"},
       {"from", "client"},
       {"dst", "to"},
       {"destination", "to"},
       {"domain", "host"},
       {"dport", "port"}}};
  const auto* const other =
      std::ranges::find(kOtherNames, word.text, &decltype(kOtherNames)::value_type::first);
  return mistake_at(word.span, fmt::format("unknown term \"{}\"", word.text),
                    other == kOtherNames.end() ? std::string(closest_word(word.text, key_names()))
                                               : std::string(other->second));
}

Parsed<Term> read_term(Reader& reader) {
  Term term;
  Word word = reader.bare();
  term.span = word.span;
  if (word.text == kNot) {
    term.negated = true;
    reader.skip_blanks();
    word = reader.bare();
    if (word.text.empty() || word.text == kNot) {
      return mistake_at(word.span, "a term belongs behind \"not\"");
    }
  }
  const auto key = key_of(word.text);
  if (!key) return unknown_term(word);
  term.key = *key;
  term.key_span = word.span;
  auto read = *key == TermKey::time ? read_times(reader, term) : read_values(reader, term);
  if (!read) return std::unexpected(std::move(read).error());
  term.span = joined(term.span, term.values.back().span);
  return term;
}

Parsed<std::vector<Term>> read_terms(Reader& reader) {
  std::vector<Term> terms;
  for (reader.skip_blanks(); !reader.at_end() && !reader.at(kArrow); reader.skip_blanks()) {
    auto term = read_term(reader);
    if (!term) return std::unexpected(std::move(term).error());
    if (terms.size() == limits::kRuleTerms) {
      return mistake_at(term->span, fmt::format("more than {} terms", limits::kRuleTerms));
    }
    terms.push_back(*std::move(term));
  }
  return terms;
}

bool is_way_out_name(std::string_view word) {
  return !word.empty() && std::ranges::all_of(word, [](char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' || byte == '.';
  });
}

Parsed<ActionStep> read_step(Reader& reader, const Rule& rule) {
  reader.skip_blanks();
  const Word word = reader.bare();
  if (word.text.empty()) {
    return mistake_at(word.span, "an action is missing here: direct, reject, drop or a way out");
  }
  if (!is_way_out_name(word.text)) {
    return mistake_at(word.span, fmt::format("\"{}\" is no name of a way out", word.text));
  }
  for (const ActionStep& earlier : rule.steps) {
    if (earlier.name == kReject || earlier.name == kDrop) {
      return mistake_at(word.span, fmt::format("nothing can come after \"{}\"", earlier.name));
    }
    if (earlier.name == word.text) {
      return mistake_at(word.span, fmt::format("\"{}\" stands there twice", word.text));
    }
  }
  return ActionStep{.name = std::string(word.text), .span = word.span};
}

/// What follows `connect`, to the end of the rule.
Parsed<void> read_connect(Reader& reader, Rule& rule) {
  reader.skip_blanks();
  const Word word = reader.bare();
  rule.connect = connect_mode_of(word.text);
  constexpr std::array<std::string_view, 2> kModes = {"early", "honest"};
  if (rule.connect == ConnectMode::automatic) {
    return mistake_at({word.span.first, std::max(word.span.length, 1U)},
                      "\"connect\" is followed by \"early\" or \"honest\"",
                      std::string(closest_word(word.text, kModes)));
  }
  reader.skip_blanks();
  if (reader.at_end()) return {};
  return mistake_at(reader.here(), fmt::format("nothing can come after \"connect {}\"", word.text));
}

std::unexpected<RuleMistake> unexpected_behind(const std::string& action, const Word& word) {
  constexpr std::array kWords = {kElse, kConnect};
  const TextSpan span{word.span.first, std::max(word.span.length, 1U)};
  if (action == kReject || action == kDrop) {
    return mistake_at(span, fmt::format("nothing can come after \"{}\"", action));
  }
  return mistake_at(span, "nothing but \"else\" or \"connect\" can follow a way out",
                    std::string(closest_word(word.text, kWords)));
}

Parsed<void> read_action(Reader& reader, Rule& rule) {
  if (reader.at_end()) {
    auto mistake = mistake_at(reader.here(), "the action is missing");
    mistake.error().help = "end the rule in -> direct, -> reject, -> drop or -> WAY-OUT";
    return mistake;
  }
  reader.skip(kArrow.size());
  while (true) {
    auto step = read_step(reader, rule);
    if (!step) return std::unexpected(std::move(step).error());
    if (rule.steps.size() == limits::kElseSteps) {
      return mistake_at(step->span, fmt::format("more than {} ways out", limits::kElseSteps));
    }
    rule.steps.push_back(*std::move(step));
    reader.skip_blanks();
    if (reader.at_end()) return {};
    const Word word = reader.bare();
    if (word.text == kElse) continue;
    if (word.text == kConnect) return read_connect(reader, rule);
    return unexpected_behind(rule.steps.back().name, word);
  }
}

Parsed<void> check_text(std::string_view text) {
  if (text.size() > limits::kRuleBytes) {
    return mistake_at({}, fmt::format("a rule of more than {} bytes", limits::kRuleBytes));
  }
  const auto control = std::ranges::find_if(text, [](char byte) {
    return (static_cast<unsigned char>(byte) < 0x20 && byte != '\t') || byte == 0x7f;
  });
  if (control == text.end()) return {};
  const auto at = static_cast<std::size_t>(control - text.begin());
  return mistake_at(span_of(at, at + 1), "a control character in a rule");
}

}  // namespace

Parsed<Rule> parse_rule(std::string_view text) {
  if (auto fits = check_text(text); !fits) return std::unexpected(std::move(fits).error());
  Reader reader(text);
  auto terms = read_terms(reader);
  if (!terms) return std::unexpected(std::move(terms).error());
  Rule rule{.text = std::string(text),
            .terms = *std::move(terms),
            .steps = {},
            .connect = ConnectMode::automatic};
  if (auto action = read_action(reader, rule); !action) {
    return std::unexpected(std::move(action).error());
  }
  return rule;
}

Parsed<std::vector<Term>> parse_terms(std::string_view text) {
  if (auto fits = check_text(text); !fits) return std::unexpected(std::move(fits).error());
  Reader reader(text);
  auto terms = read_terms(reader);
  if (!terms) return terms;
  if (!reader.at_end()) {
    return mistake_at(span_of(reader.here().first, reader.here().first + kArrow.size()),
                      "no action belongs here: the rule only says which traffic is meant");
  }
  if (terms->empty()) return mistake_at({}, "a rule needs at least one term");
  return terms;
}

}  // namespace shunt
