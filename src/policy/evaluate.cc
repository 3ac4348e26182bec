// SPDX-License-Identifier: GPL-2.0-only
#include "policy/evaluate.h"

#include <algorithm>
#include <string_view>

namespace shunt {
namespace {

Answer yes_or_no(bool yes) { return yes ? Answer::yes : Answer::no; }

bool within(const std::vector<NumberRange>& ranges, std::uint32_t value) {
  const auto behind = std::ranges::upper_bound(ranges, value, {}, &NumberRange::low);
  return behind != ranges.begin() && value <= std::prev(behind)->high;
}

bool matches(const TextValues& values, std::string_view text) {
  if (std::ranges::binary_search(values.exact, text)) return true;
  for (const std::string& beginning : values.beginnings) {
    if (text.starts_with(beginning)) return true;
  }
  return std::ranges::any_of(values.patterns, [text](const auto& pattern) {
    return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *pattern);
  });
}

/// The cgroup itself or one above it.
bool matches_cgroup(const TextValues& values, std::string_view path) {
  return std::ranges::any_of(values.exact, [path](const std::string& wanted) {
    return wanted == "/" || path == wanted ||
           (path.starts_with(wanted) && path[wanted.size()] == '/');
  });
}

/// The kernel's name of a process, or that of its program: the former is cut to 15 bytes. Where the
/// program is not known the name alone can say yes, and nothing can say no.
Answer matches_process(const TextValues& values, const ProcessFact& process) {
  if (matches(values, process.name)) return Answer::yes;
  if (!process.exe) return Answer::never;
  const std::string_view exe = *process.exe;
  return yes_or_no(matches(values, exe.substr(exe.rfind('/') + 1)));
}

const std::optional<std::string>& fact_of(TermKey key, const ProcessFact& process) {
  switch (key) {
    case TermKey::exe: return process.exe;
    case TermKey::cgroup: return process.cgroup;
    case TermKey::unit: return process.unit;
    default: return process.container;
  }
}

const std::optional<std::uint32_t>& number_of(TermKey key, const ProcessFact& process) {
  switch (key) {
    case TermKey::gid: return process.gid;
    case TermKey::classid: return process.classid;
    default: return process.uid;
  }
}

void sort_unique(std::vector<std::uint32_t>& ids) {
  std::ranges::sort(ids);
  const auto rest = std::ranges::unique(ids);
  ids.erase(rest.begin(), rest.end());
}

}  // namespace

Evaluation::Evaluation(const CompiledRules& rules, const Facts& facts, Wait wait, Lookups& lookups)
    : rules_(rules), facts_(facts), wait_(wait), lookups_(lookups) {
  lookups_.hosts.clear();
  lookups_.destinations.clear();
  lookups_.clients.clear();
  if (facts.name.state == FactState::known) {
    rules.hosts.find(facts.name.name, lookups_.hosts);
    rules.host_patterns.find(facts.name.name, lookups_.hosts, lookups_.patterns);
    sort_unique(lookups_.hosts);
  }
  rules.destinations.find(facts.destination.address, lookups_.destinations);
  sort_unique(lookups_.destinations);
  rules.clients.find(facts.client.address, lookups_.clients);
  sort_unique(lookups_.clients);
}

FactState Evaluation::settled(FactState state) const {
  return state == FactState::unknown && wait_ == Wait::over ? FactState::never : state;
}

FactState Evaluation::name_state() const {
  return name_ == Name::distrusted ? FactState::never : settled(facts_.name.state);
}

/// The answer where a fact is not there.
Answer Evaluation::later(FactState state, std::uint8_t need, Needs& needs) const {
  if (settled(state) == FactState::never) return Answer::never;
  needs.bits |= need;
  return Answer::unknown;
}

Answer Evaluation::host(std::uint32_t id, Needs& needs) const {
  if (facts_.name.state != FactState::known) {
    return later(facts_.name.state, Needs::kName, needs);
  }
  return yes_or_no(std::ranges::binary_search(lookups_.hosts, id));
}

Answer Evaluation::about_http(const CompiledTerm& term, Needs& needs) const {
  if (facts_.http.state != FactState::known) {
    const bool other = facts_.app.state == FactState::known && facts_.app.app != AppProtocol::http;
    return later(other ? FactState::never : facts_.http.state, Needs::kHttp, needs);
  }
  const TextValues& values = rules_.texts[term.payload];
  return yes_or_no(
      matches(values, term.key == TermKey::method ? facts_.http.method : facts_.http.path));
}

Answer Evaluation::about_account(const CompiledTerm& term, Needs& needs) const {
  const auto& id = number_of(term.key, facts_.process);
  if (id) return yes_or_no(within(rules_.ranges[term.payload], *id));
  const bool found = facts_.process.state == FactState::known;  // and still has none
  return later(found ? FactState::never : facts_.process.state, Needs::kProcess, needs);
}

Answer Evaluation::about_process(const CompiledTerm& term, Needs& needs) const {
  const ProcessFact& process = facts_.process;
  if (process.state != FactState::known) return later(process.state, Needs::kProcess, needs);
  const TextValues& values = rules_.texts[term.payload];
  if (term.key == TermKey::process) return matches_process(values, process);
  const auto& fact = fact_of(term.key, process);
  if (!fact) return Answer::never;
  return yes_or_no(term.key == TermKey::cgroup ? matches_cgroup(values, *fact)
                                               : matches(values, *fact));
}

Answer Evaluation::country(const CompiledTerm& term) {
  if (!country_) country_ = rules_.countries->country(facts_.destination.address);
  if (!*country_) return Answer::never;
  return yes_or_no(matches(rules_.texts[term.payload], std::string_view((*country_)->data(), 2)));
}

Answer Evaluation::system(const CompiledTerm& term) {
  if (!system_) system_ = rules_.systems->autonomous_system(facts_.destination.address);
  if (!*system_) return Answer::never;
  return yes_or_no(within(rules_.ranges[term.payload], **system_));
}

/// Facts that are there from the beginning.
Answer Evaluation::about_plain_facts(const CompiledTerm& term, std::uint32_t id) const {
  const auto in_ranges = [&](std::uint32_t value) {
    return yes_or_no(within(rules_.ranges[term.payload], value));
  };
  switch (term.key) {
    case TermKey::to: return yes_or_no(std::ranges::binary_search(lookups_.destinations, id));
    case TermKey::client: return yes_or_no(std::ranges::binary_search(lookups_.clients, id));
    case TermKey::port: return in_ranges(facts_.destination.port);
    case TermKey::client_port:
      if (facts_.client.port == 0) return Answer::never;  // no flow has it: it was not told
      return in_ranges(facts_.client.port);
    case TermKey::time: return in_ranges(facts_.minute_of_week);
    case TermKey::proto:
      return yes_or_no((term.payload >> static_cast<unsigned>(facts_.protocol) & 1U) != 0);
    default:
      if (!facts_.interface) return Answer::never;
      return yes_or_no(matches(rules_.texts[term.payload], *facts_.interface));
  }
}

Answer Evaluation::about_app(const CompiledTerm& term, Needs& needs) const {
  if (facts_.app.state != FactState::known) return later(facts_.app.state, Needs::kApp, needs);
  return yes_or_no((term.payload >> static_cast<unsigned>(facts_.app.app) & 1U) != 0);
}

Answer Evaluation::positive(const CompiledTerm& term, std::uint32_t id, Needs& needs) {
  switch (term.key) {
    case TermKey::host: return host(id, needs);
    case TermKey::app: return about_app(term, needs);
    case TermKey::method:
    case TermKey::path: return about_http(term, needs);
    case TermKey::uid:
    case TermKey::gid:
    case TermKey::classid:
    case TermKey::user: return about_account(term, needs);
    case TermKey::process:
    case TermKey::exe:
    case TermKey::cgroup:
    case TermKey::unit:
    case TermKey::container: return about_process(term, needs);
    case TermKey::country: return country(term);
    case TermKey::asn: return system(term);
    default: return about_plain_facts(term, id);
  }
}

Answer Evaluation::answer(const CompiledTerm& term, std::uint32_t id, Needs& needs) {
  if (term.key == TermKey::host && name_ == Name::distrusted) {
    return yes_or_no(term.negated && rules_.rules[term.rule].denies);
  }
  const Answer answer = positive(term, id, needs);
  if (!term.negated) return answer;
  if (answer == Answer::yes) return Answer::no;
  return answer == Answer::no ? Answer::yes : answer;
}

Answer Evaluation::answer(const CompiledRule& rule, Needs& needs) {
  Needs wanted;
  bool unknown = false;
  for (std::uint32_t id = rule.first_term; id < rule.first_term + rule.terms; ++id) {
    const Answer one = answer(rules_.terms[id], id, wanted);
    if (one == Answer::no || one == Answer::never) return Answer::no;
    unknown = unknown || one == Answer::unknown;
  }
  if (!unknown) return Answer::yes;
  needs.bits |= wanted.bits;
  return Answer::unknown;
}

}  // namespace shunt
