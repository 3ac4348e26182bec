// SPDX-License-Identifier: GPL-2.0-only
// Ruleset::compile(): from texts to a Ruleset, or to the mistakes in them.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "base/suggest.h"
#include "flow/app_protocol.h"
#include "flow/flow.h"
#include "policy/compiled.h"
#include "policy/index_rules.h"
#include "policy/list_file.h"
#include "policy/ruleset.h"
#include "rule/accounts.h"
#include "rule/parse.h"

namespace shunt {
namespace {

std::uint32_t bit(std::size_t at) { return 1U << at; }

/// In the order of Protocol.
constexpr std::array<std::string_view, 2> kProtocolNames = {"tcp", "udp"};

/// A bit for each value, by its place among `names`.
std::uint32_t bits_of(const Term& term, std::span<const std::string_view> names) {
  std::uint32_t bits = 0;
  for (const Value& value : term.values) {
    bits |= bit(static_cast<std::size_t>(std::ranges::find(names, value.text) - names.begin()));
  }
  return bits;
}

/// The payload of a term that needs none.
Parsed<std::uint32_t> nothing_or(Parsed<void> added) {
  if (!added) return std::unexpected(std::move(added).error());
  return 0U;
}

Parsed<std::unique_ptr<RE2>> pattern_of(const Value& value, bool case_sensitive) {
  auto pattern = compile_pattern(value.text, case_sensitive);
  if (pattern) return *std::move(pattern);
  auto mistake = mistake_at(value.span,
                            fmt::format("this pattern does not work: {}", pattern.error().message));
  mistake.error().help = "the syntax is RE2's: https://github.com/google/re2/wiki/Syntax";
  return mistake;
}

}  // namespace

class RulesetBuilder {
 public:
  explicit RulesetBuilder(PolicySource source)
      : source_(std::move(source)), set_(new Ruleset), out_(*set_->compiled_) {}

  std::expected<std::shared_ptr<const Ruleset>, std::vector<Error>> build();

 private:
  void read_rules();
  void read_fallback();
  void open_databases();
  void add_rule(const RuleSource& source);
  Parsed<Verdict> verdict_of(const Rule& rule) const;
  Parsed<std::uint16_t> way_out(const ActionStep& step) const;
  Parsed<void> add_terms(const Rule& rule);
  Parsed<std::uint32_t> payload_of(const Term& term, std::uint32_t id);
  Parsed<void> add_hosts(const Term& term, std::uint32_t id);
  Parsed<void> add_networks(const Term& term, std::uint32_t id);
  Parsed<std::unique_ptr<RE2>> counted_pattern(const Value& value, bool case_sensitive);
  Parsed<std::uint32_t> add_texts(const Term& term);
  std::uint32_t add_ranges(std::vector<NumberRange> ranges);
  Parsed<void> check_database(const Term& term) const;
  template <class T, class Parse>
  Parsed<const std::vector<T>*> list(std::map<std::string, std::vector<T>, std::less<>>& lists,
                                     const Value& value, Parse parse);
  [[nodiscard]] bool full() const { return mistakes_.size() >= limits::kRuleMistakes; }

  PolicySource source_;
  std::shared_ptr<Ruleset> set_;
  CompiledRules& out_;
  std::vector<Error> mistakes_;
  std::optional<Error> file_error_;  // of the file that the last mistake is about
  std::map<std::string, std::vector<ListedName>, std::less<>> name_lists_;
  std::map<std::string, std::vector<Network>, std::less<>> network_lists_;
  std::size_t patterns_ = 0;
};

std::expected<std::shared_ptr<const Ruleset>, std::vector<Error>> RulesetBuilder::build() {
  set_->ways_out_.emplace_back(kDirect);
  set_->ways_out_.insert(set_->ways_out_.end(), source_.ways_out.begin(), source_.ways_out.end());
  open_databases();
  read_fallback();
  read_rules();
  if (!mistakes_.empty()) return std::unexpected(std::move(mistakes_));
  index_rules(set_->rules_, out_);
  out_.hosts.build();
  out_.destinations.build();
  out_.clients.build();
  out_.host_patterns.build();
  return set_;
}

void RulesetBuilder::open_databases() {
  const auto open = [this](const std::string& path, const std::string& place,
                           std::shared_ptr<const Mmdb>& into) {
    if (path.empty()) return;
    auto database = Mmdb::open(path);
    if (!database) {
      database.error().place = place;
      return mistakes_.push_back(std::move(database).error());
    }
    into = *std::move(database);
    set_->files_.push_back(into->stamp());
  };
  open(source_.country_file, source_.country_place, out_.countries);
  if (source_.asn_file == source_.country_file) {
    out_.systems = out_.countries;
  } else {
    open(source_.asn_file, source_.asn_place, out_.systems);
  }
}

void RulesetBuilder::read_fallback() {
  const std::string text = fmt::format("-> {}", source_.fallback.text);
  const auto rule = parse_rule(text);
  auto verdict = rule ? verdict_of(*rule) : std::unexpected(rule.error());
  if (verdict) return set_->verdicts_.push_back(*std::move(verdict));
  constexpr std::size_t kArrowBytes = 3;
  RuleMistake mistake = std::move(verdict).error();
  mistake.first -= std::min(mistake.first, kArrowBytes);
  mistakes_.push_back(mistake_error(mistake, source_.fallback.text, source_.fallback.place));
}

void RulesetBuilder::read_rules() {
  if (source_.rules.size() > limits::kRules) {
    mistakes_.push_back(make_error(Kind::configuration, error_number::kBadRule,
                                   fmt::format("more than {} rules", limits::kRules),
                                   "put the names or networks into a file: host @FILE"));
    return;
  }
  set_->rules_.reserve(source_.rules.size());
  for (RuleSource& source : source_.rules) {
    if (full()) return;
    add_rule(source);
    set_->places_.push_back(std::move(source.place));
  }
}

void RulesetBuilder::add_rule(const RuleSource& source) {
  auto rule = parse_rule(source.text);
  auto verdict = rule ? verdict_of(*rule) : std::unexpected(rule.error());
  out_.rules.push_back({.first_term = static_cast<std::uint32_t>(out_.terms.size()),
                        .terms = rule ? static_cast<std::uint32_t>(rule->terms.size()) : 0,
                        .denies = verdict && verdict->denies()});
  const Parsed<void> added = verdict ? add_terms(*rule) : std::unexpected(verdict.error());
  if (added) {
    set_->verdicts_.push_back(*std::move(verdict));
    set_->rules_.push_back(*std::move(rule));
    return;
  }
  if (file_error_) {
    mistakes_.push_back(*std::exchange(file_error_, std::nullopt));
  } else {
    mistakes_.push_back(mistake_error(added.error(), source.text, source.place));
  }
}

Parsed<std::uint16_t> RulesetBuilder::way_out(const ActionStep& step) const {
  const auto& names = set_->ways_out_;
  const auto found = std::ranges::find(names, step.name);
  if (found != names.end()) return static_cast<std::uint16_t>(found - names.begin());
  std::vector<std::string_view> known(names.begin(), names.end());
  known.push_back(kReject);
  known.push_back(kDrop);
  auto mistake = mistake_at(step.span, fmt::format("unknown way out \"{}\"", step.name),
                            std::string(closest_word(step.name, known)));
  mistake.error().number = error_number::kUnknownWayOut;
  return mistake;
}

Parsed<Verdict> RulesetBuilder::verdict_of(const Rule& rule) const {
  Verdict verdict;
  verdict.connect = rule.connect;
  for (const ActionStep& step : rule.steps) {
    const bool first = &step == &rule.steps.front();
    if (step.name == kReject || step.name == kDrop) {
      const bool drop = step.name == kDrop;
      if (first) verdict.kind = drop ? Verdict::Kind::drop : Verdict::Kind::reject;
      verdict.drop_if_all_fail = drop && !first;
      continue;
    }
    auto way = way_out(step);
    if (!way) return std::unexpected(std::move(way).error());
    verdict.ways.push_back(*way);
  }
  return verdict;
}

Parsed<void> RulesetBuilder::add_terms(const Rule& rule) {
  for (const Term& term : rule.terms) {
    set_->used_keys_ |= bit(static_cast<std::size_t>(term.key));
    const auto id = static_cast<std::uint32_t>(out_.terms.size());
    auto payload = payload_of(term, id);
    if (!payload) return std::unexpected(std::move(payload).error());
    out_.terms.push_back({.key = term.key,
                          .negated = term.negated,
                          .rule = static_cast<std::uint32_t>(out_.rules.size() - 1),
                          .payload = *payload});
  }
  return {};
}

Parsed<std::uint32_t> RulesetBuilder::payload_of(const Term& term, std::uint32_t id) {
  switch (term.key) {
    case TermKey::host: return nothing_or(add_hosts(term, id));
    case TermKey::to:
    case TermKey::client: return nothing_or(add_networks(term, id));
    case TermKey::proto: return bits_of(term, kProtocolNames);
    case TermKey::app: return bits_of(term, kAppProtocolNames);
    case TermKey::uid:
    case TermKey::gid:
    case TermKey::user: {
      auto numbers = account_numbers(term);
      if (!numbers) return std::unexpected(std::move(numbers).error());
      return add_ranges(*std::move(numbers));
    }
    case TermKey::country:
    case TermKey::asn:
      if (auto there = check_database(term); !there) {
        return std::unexpected(std::move(there).error());
      }
      return term.key == TermKey::asn ? add_ranges(term_ranges(term)) : add_texts(term);
    case TermKey::port:
    case TermKey::client_port:
    case TermKey::classid:
    case TermKey::time: return add_ranges(term_ranges(term));
    default: return add_texts(term);
  }
}

Parsed<void> RulesetBuilder::check_database(const Term& term) const {
  const auto& database = term.key == TermKey::asn ? out_.systems : out_.countries;
  if (database != nullptr || !mistakes_.empty()) return {};  // it may be one of those
  const std::string_view key = term.key == TermKey::asn ? "asn-db" : "country-db";
  auto mistake = mistake_at(
      term.key_span,
      fmt::format("\"{}\" needs an address database, and none is configured", key_name(term.key)));
  mistake.error().help = fmt::format(
      "in the configuration of `shunt serve`: [rules] {} = \"FILE.mmdb\"; run and gateway take "
      "none",
      key);
  mistake.error().number = error_number::kAddressDatabase;
  return mistake;
}

std::uint32_t RulesetBuilder::add_ranges(std::vector<NumberRange> ranges) {
  out_.ranges.push_back(std::move(ranges));
  return static_cast<std::uint32_t>(out_.ranges.size() - 1);
}

Parsed<std::unique_ptr<RE2>> RulesetBuilder::counted_pattern(const Value& value,
                                                             bool case_sensitive) {
  if (++patterns_ > limits::kRulePatterns) {
    return mistake_at(value.span,
                      fmt::format("more than {} patterns in all", limits::kRulePatterns));
  }
  return pattern_of(value, case_sensitive);
}

Parsed<std::uint32_t> RulesetBuilder::add_texts(const Term& term) {
  TextValues values;
  for (const Value& value : term.values) {
    if (value.form == ValueForm::pattern) {
      auto pattern = counted_pattern(value, true);
      if (!pattern) return std::unexpected(std::move(pattern).error());
      values.patterns.push_back(*std::move(pattern));
    } else {
      (value.form == ValueForm::beginning ? values.beginnings : values.exact).push_back(value.text);
    }
  }
  std::ranges::sort(values.exact);
  out_.texts.push_back(std::move(values));
  return static_cast<std::uint32_t>(out_.texts.size() - 1);
}

Parsed<void> RulesetBuilder::add_hosts(const Term& term, std::uint32_t id) {
  for (const Value& value : term.values) {
    if (value.form == ValueForm::pattern) {
      auto pattern = counted_pattern(value, false);
      if (!pattern) return std::unexpected(std::move(pattern).error());
      out_.host_patterns.add(value.text, *std::move(pattern), id);
    } else if (value.form == ValueForm::list) {
      const auto names = list(name_lists_, value, parse_name_list);
      if (!names) return std::unexpected(names.error());
      for (const ListedName& listed : **names) out_.hosts.add(listed.name, listed.below, id);
    } else {
      out_.hosts.add(value.text, value.form == ValueForm::subdomains, id);
    }
  }
  return {};
}

Parsed<void> RulesetBuilder::add_networks(const Term& term, std::uint32_t id) {
  NetworkIndex& index = term.key == TermKey::to ? out_.destinations : out_.clients;
  for (const Value& value : term.values) {
    if (value.form != ValueForm::list) {
      index.add(value.network, id);
      continue;
    }
    const auto networks = list(network_lists_, value, parse_network_list);
    if (!networks) return std::unexpected(networks.error());
    for (const Network& network : **networks) index.add(network, id);
  }
  return {};
}

/// The entries of a list file, read once however many rules use it.
template <class T, class Parse>
Parsed<const std::vector<T>*> RulesetBuilder::list(
    std::map<std::string, std::vector<T>, std::less<>>& lists, const Value& value, Parse parse) {
  const bool relative = !value.text.starts_with('/') && !source_.folder.empty();
  const std::string path = relative ? source_.folder + "/" + value.text : value.text;
  if (const auto found = lists.find(path); found != lists.end()) return &found->second;
  auto file = read_stamped(path, limits::kListFileBytes);
  if (!file) {
    auto mistake = mistake_at(value.span, file.error().text());
    mistake.error().number = error_number::kListFile;
    return mistake;
  }
  auto entries = parse(file->bytes, path);
  if (!entries) {
    file_error_ = std::move(entries).error();
    return mistake_at(value.span, "");
  }
  set_->files_.push_back(std::move(file->stamp));
  return &lists.emplace(path, *std::move(entries)).first->second;
}

std::expected<std::shared_ptr<const Ruleset>, std::vector<Error>> Ruleset::compile(
    PolicySource source) {
  return RulesetBuilder(std::move(source)).build();
}

}  // namespace shunt
