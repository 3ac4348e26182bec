// SPDX-License-Identifier: GPL-2.0-only
#include "policy/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>

#include "policy/compiled.h"
#include "rule/accounts.h"

namespace shunt {
namespace {

/// Comparisons of two rules. Rules that a host leads to are compared with those of that host alone,
/// so it takes many rules without one to come this far.
constexpr std::uint64_t kComparisons = 20'000'000;

bool is_below(std::string_view name, std::string_view domain) {
  return name.size() > domain.size() && name.ends_with(domain) &&
         name[name.size() - domain.size() - 1] == '.';
}

bool host_covers(const Value& wide, const Value& narrow) {
  if (wide.form == ValueForm::subdomains && narrow.form == ValueForm::subdomains) {
    return wide.text == narrow.text || is_below(narrow.text, wide.text);
  }
  if (wide.form == ValueForm::subdomains && narrow.form == ValueForm::exact) {
    return is_below(narrow.text, wide.text);
  }
  return wide.form == narrow.form && wide.text == narrow.text;
}

bool text_covers(TermKey key, const Value& wide, const Value& narrow) {
  if (wide.form == ValueForm::beginning && narrow.form != ValueForm::pattern) {
    return narrow.text.starts_with(wide.text);
  }
  if (key == TermKey::cgroup && narrow.text.starts_with(wide.text)) {
    return wide.text == "/" || narrow.text.size() == wide.text.size() ||
           narrow.text[wide.text.size()] == '/';
  }
  return wide.form == narrow.form && wide.text == narrow.text;
}

bool value_covers(TermKey key, const Value& wide, const Value& narrow) {
  if (wide.form == ValueForm::range || narrow.form == ValueForm::range) {
    return wide.form == narrow.form && wide.low <= narrow.low && narrow.high <= wide.high;
  }
  if (wide.form == ValueForm::network || narrow.form == ValueForm::network) {
    return wide.form == narrow.form && wide.network.contains(narrow.network);
  }
  return key == TermKey::host ? host_covers(wide, narrow) : text_covers(key, wide, narrow);
}

bool is_numeric(const Term& term) {
  return std::ranges::all_of(term.values,
                             [](const Value& value) { return value.form == ValueForm::range; });
}

/// Each value of `narrow` lies within one of `wide`; ranges within all of them together.
bool values_cover(const Term& wide, const Term& narrow) {
  const bool merge = is_numeric(wide) && is_numeric(narrow);
  const std::vector<NumberRange> ranges = merge ? term_ranges(wide) : std::vector<NumberRange>{};
  return std::ranges::all_of(narrow.values, [&](const Value& value) {
    if (merge) {
      return std::ranges::any_of(ranges, [&](const NumberRange& range) {
        return range.low <= value.low && value.high <= range.high;
      });
    }
    return std::ranges::any_of(
        wide.values, [&](const Value& outer) { return value_covers(wide.key, outer, value); });
  });
}

/// `uid` and `user` are the same term.
TermKey same_key(TermKey key) { return key == TermKey::user ? TermKey::uid : key; }

bool term_covers(const Term& wide, const Term& narrow) {
  if (same_key(wide.key) != same_key(narrow.key) || wide.negated != narrow.negated) return false;
  return wide.negated ? values_cover(narrow, wide) : values_cover(wide, narrow);
}

bool ranges_meet(const Value& a, const Value& b) { return a.low <= b.high && b.low <= a.high; }

bool values_meet(TermKey key, const Value& a, const Value& b) {
  if (a.form == ValueForm::range && b.form == ValueForm::range) return ranges_meet(a, b);
  const auto comparable = [](const Value& value) {
    return value.form == ValueForm::exact || value.form == ValueForm::beginning ||
           value.form == ValueForm::subdomains || value.form == ValueForm::network;
  };
  if (!comparable(a) || !comparable(b)) return true;  // who knows
  return value_covers(key, a, b) || value_covers(key, b, a);
}

/// Whether some value may satisfy both terms. A process has two names, a container a name and an
/// ID.
bool can_both_match(const Term& a, const Term& b) {
  constexpr std::size_t kMostPairs = 100'000;
  if (a.key != b.key || a.key == TermKey::process || a.key == TermKey::container) return true;
  if (a.values.size() * b.values.size() > kMostPairs) return true;  // who knows
  return std::ranges::any_of(a.values, [&](const Value& one) {
    return std::ranges::any_of(b.values,
                               [&](const Value& other) { return values_meet(a.key, one, other); });
  });
}

/// What a flow may still be after each of a rule's terms.
class Possible {
 public:
  /// False where `term` leaves nothing.
  bool with(const Term& term) {
    const bool network = term.key == TermKey::to || term.key == TermKey::client;
    v4_ = v4_ && (!network || has_family(term, true));
    v6_ = v6_ && (!network || has_family(term, false));
    own_ = own_ && term.key != TermKey::interface;
    forwarded_ = forwarded_ && !(term.key >= TermKey::process && term.key <= TermKey::container);
    const bool of_http = term.key == TermKey::method || term.key == TermKey::path;
    http_ = http_ && (term.key != TermKey::app || names(term, {"http"}));
    needs_http_ = needs_http_ || of_http;
    tcp_ = tcp_ && has_protocol(term, "tcp", {"http", "tls", "ssh", "dns", "other"});
    udp_ = udp_ && !of_http && has_protocol(term, "udp", {"quic", "dns", "other"});
    return (v4_ || v6_) && (own_ || forwarded_) && (tcp_ || udp_) && (http_ || !needs_http_);
  }

 private:
  static bool has_family(const Term& term, bool v4) {
    return std::ranges::any_of(term.values, [v4](const Value& value) {
      return value.form == ValueForm::list || value.network.address.is_v4() == v4;
    });
  }
  static bool names(const Term& term, std::initializer_list<std::string_view> words) {
    return std::ranges::any_of(term.values, [&](const Value& value) {
      return std::ranges::find(words, value.text) != words.end();
    });
  }
  static bool has_protocol(const Term& term, std::string_view protocol,
                           std::initializer_list<std::string_view> apps) {
    if (term.key == TermKey::proto) return names(term, {protocol});
    return term.key != TermKey::app || names(term, apps);
  }

  bool v4_ = true;
  bool v6_ = true;
  bool own_ = true;
  bool forwarded_ = true;
  bool tcp_ = true;
  bool udp_ = true;
  bool http_ = true;
  bool needs_http_ = false;
};

class Checker {
 public:
  explicit Checker(const Ruleset& rules) : rules_(rules), compiled_(rules.compiled()) {}
  std::vector<Finding> findings() &&;

 private:
  void check_rule(std::uint32_t number);
  void check_duplicates(std::uint32_t number);
  void check_possible(std::uint32_t number);
  void check_paths(std::uint32_t number);
  [[nodiscard]] bool spares(std::uint32_t earlier, std::uint32_t later) const;
  std::optional<std::uint32_t> covering(std::uint32_t number);
  std::optional<std::uint32_t> first_covering(std::uint32_t number,
                                              const std::vector<std::uint32_t>& candidates);
  void rules_of_host(const Value& value, std::vector<std::uint32_t>& out) const;
  void check_ways_out();
  void add(Finding::Kind kind, std::uint32_t rule, TextSpan span, std::string message) {
    findings_.push_back({.kind = kind, .rule = rule, .span = span, .message = std::move(message)});
  }

  const Ruleset& rules_;
  const CompiledRules& compiled_;
  std::vector<Finding> findings_;
  std::vector<std::uint32_t> others_;  // rules that no host leads to, in order, from 0
  std::uint64_t comparisons_ = 0;
};

/// Earlier rules that name the host too. A rule that covers another covers its first host.
void Checker::rules_of_host(const Value& value, std::vector<std::uint32_t>& out) const {
  std::vector<std::uint32_t> terms;
  if (value.form == ValueForm::exact) compiled_.hosts.find(value.text, terms);
  if (value.form == ValueForm::subdomains) compiled_.hosts.find_below(value.text, terms);
  for (const std::uint32_t id : terms) {
    if (compiled_.terms[id].leads_to_rule) out.push_back(compiled_.terms[id].rule);
  }
  std::ranges::sort(out);
}

/// A name that is not verified is as if made up: then `not host` matches in rules that deny, and in
/// no others.
bool Checker::spares(std::uint32_t earlier, std::uint32_t later) const {
  if (rules_.verdict(earlier).denies() || !rules_.verdict(later).denies()) return false;
  return std::ranges::any_of(rules_.rule(earlier).terms, [](const Term& term) {
    return term.key == TermKey::host && term.negated;
  });
}

std::optional<std::uint32_t> Checker::first_covering(std::uint32_t number,
                                                     const std::vector<std::uint32_t>& candidates) {
  for (const std::uint32_t earlier : candidates) {
    if (earlier + 1 >= number || ++comparisons_ > kComparisons) return std::nullopt;
    if (covers(rules_.rule(earlier + 1), rules_.rule(number)) && !spares(earlier + 1, number)) {
      return earlier + 1;
    }
  }
  return std::nullopt;
}

std::optional<std::uint32_t> Checker::covering(std::uint32_t number) {
  const auto by_others = first_covering(number, others_);
  std::optional<std::uint32_t> by_host;
  for (const Term& term : rules_.rule(number).terms) {
    if (term.key != TermKey::host || term.negated || by_host) continue;
    std::vector<std::uint32_t> candidates;
    rules_of_host(term.values.front(), candidates);
    by_host = first_covering(number, candidates);
  }
  if (!by_host || !by_others) return by_host ? by_host : by_others;
  return std::min(*by_host, *by_others);
}

void Checker::check_duplicates(std::uint32_t number) {
  constexpr std::size_t kMostCompared = 500;
  for (const Term& term : rules_.rule(number).terms) {
    if (term.values.size() > kMostCompared || term.key == TermKey::time) continue;
    for (std::size_t i = 1; i < term.values.size(); ++i) {
      const Value& value = term.values[i];
      const auto earlier = std::ranges::find_if(
          term.values.begin(), term.values.begin() + static_cast<std::ptrdiff_t>(i),
          [&](const Value& other) { return value_covers(term.key, other, value); });
      if (earlier == term.values.begin() + static_cast<std::ptrdiff_t>(i)) continue;
      const std::string& text = rules_.rule(number).text;
      add(Finding::Kind::duplicate_value, number, value.span,
          fmt::format("{} is in {} already", text.substr(value.span.first, value.span.length),
                      text.substr(earlier->span.first, earlier->span.length)));
    }
  }
}

/// Two terms of one key that no value satisfies both; terms of senders and of interfaces; terms of
/// what only one protocol has.
void Checker::check_possible(std::uint32_t number) {
  Possible possible;
  std::vector<const Term*> earlier;
  for (const Term& term : rules_.rule(number).terms) {
    if (term.negated) continue;
    const bool fits = possible.with(term) && std::ranges::all_of(earlier, [&](const Term* other) {
                        return can_both_match(*other, term);
                      });
    if (!fits) {
      return add(Finding::Kind::never_matches, number, term.key_span,
                 "with this term the rule can never match");
    }
    earlier.push_back(&term);
  }
}

/// A path is compared without its query.
void Checker::check_paths(std::uint32_t number) {
  for (const Term& term : rules_.rule(number).terms) {
    if (term.key != TermKey::path) continue;
    for (const Value& value : term.values) {
      const bool text = value.form == ValueForm::exact || value.form == ValueForm::beginning;
      if (!text || !value.text.contains('?')) continue;
      add(Finding::Kind::never_matches, number, value.span,
          "this matches no path: the query, from the \"?\" on, is never compared");
    }
  }
}

void Checker::check_rule(std::uint32_t number) {
  check_duplicates(number);
  check_possible(number);
  check_paths(number);
  if (comparisons_ > kComparisons) return;
  const auto earlier = covering(number);
  if (earlier) {
    add(Finding::Kind::unreachable, number,
        {0, static_cast<std::uint32_t>(rules_.rule(number).text.size())},
        fmt::format("rule {} is never reached: rule {} matches all of it", number, *earlier));
    findings_.back().earlier = *earlier;
  }
  if (comparisons_ > kComparisons) {
    add(Finding::Kind::gave_up, number, {},
        fmt::format("rules from {} on were not compared with all earlier ones", number));
  }
}

void Checker::check_ways_out() {
  std::vector<bool> used(rules_.ways_out().size());
  for (std::uint32_t number = 0; number <= rules_.size(); ++number) {
    for (const std::uint16_t way : rules_.verdict(number).ways) used[way] = true;
  }
  for (std::size_t way = 1; way < used.size(); ++way) {
    if (used[way]) continue;
    add(Finding::Kind::unused_way_out, 0, {},
        fmt::format("no rule uses the way out \"{}\"", rules_.ways_out()[way]));
  }
}

std::vector<Finding> Checker::findings() && {
  std::vector<bool> by_host(rules_.size());
  for (const CompiledTerm& term : compiled_.terms) {
    if (term.leads_to_rule && term.key == TermKey::host) by_host[term.rule] = true;
  }
  for (std::uint32_t i = 0; i < rules_.size(); ++i) {
    // Files and patterns are not looked up by a host of the later rule.
    const bool looked_up =
        by_host[i] && std::ranges::all_of(rules_.rule(i + 1).terms, [](const Term& term) {
          return term.key != TermKey::host || std::ranges::all_of(term.values, [](const Value& v) {
                   return v.form == ValueForm::exact || v.form == ValueForm::subdomains;
                 });
        });
    if (!looked_up) others_.push_back(i);
  }
  for (std::uint32_t number = 1; number <= rules_.size(); ++number) check_rule(number);
  check_ways_out();
  return std::move(findings_);
}

}  // namespace

bool covers(const Rule& earlier, const Rule& later) {
  return std::ranges::all_of(earlier.terms, [&](const Term& wide) {
    return std::ranges::any_of(later.terms,
                               [&](const Term& narrow) { return term_covers(wide, narrow); });
  });
}

std::vector<Finding> check(const Ruleset& rules) { return Checker(rules).findings(); }

}  // namespace shunt
