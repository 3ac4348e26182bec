// SPDX-License-Identifier: GPL-2.0-only
#include "policy/explain.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/compiled.h"
#include "policy/evaluate.h"

namespace shunt {
namespace {

std::string_view absent(FactState state) {
  return state == FactState::unknown ? "not known yet" : "not known";
}

std::string text_or(const std::optional<std::string>& text, FactState state,
                    std::string_view none) {
  if (state != FactState::known) return std::string(absent(state));
  if (!text) return std::string(absent(FactState::never));
  return text->empty() ? std::string(none) : *text;
}

std::string number_or(const std::optional<std::uint32_t>& number, FactState state) {
  return number ? fmt::format("{}", *number) : std::string(absent(state));
}

std::string seen_name(const NameFact& name) {
  if (name.state != FactState::known) return std::string(absent(name.state));
  return name.verified ? name.name : fmt::format("{} (not verified)", name.name);
}

std::string seen_time(std::uint32_t minute) {
  constexpr std::string_view kDays[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
  return fmt::format("{} {:02}:{:02}", kDays[minute / kMinutesPerDay % 7], minute / 60 % 24,
                     minute % 60);
}

std::string seen_process(TermKey key, const ProcessFact& process) {
  switch (key) {
    case TermKey::process: return text_or(process.name, process.state, "without a name");
    case TermKey::exe: return text_or(process.exe, process.state, "none");
    case TermKey::cgroup: return text_or(process.cgroup, process.state, "none");
    case TermKey::unit: return text_or(process.unit, process.state, "none");
    case TermKey::container: return text_or(process.container, process.state, "none");
    case TermKey::gid: return number_or(process.gid, process.state);
    case TermKey::classid: return number_or(process.classid, process.state);
    default: return number_or(process.uid, process.state);
  }
}

std::string seen_http(TermKey key, const HttpFact& http) {
  if (http.state != FactState::known) return std::string(absent(http.state));
  return key == TermKey::method ? http.method : http.path;
}

std::string seen_place(TermKey key, const CompiledRules& rules, const Address& address) {
  if (key == TermKey::country) {
    const auto code = rules.countries->country(address);
    return code ? std::string(code->data(), code->size()) : "not in the database";
  }
  const auto number = rules.systems->autonomous_system(address);
  return number ? fmt::format("AS{}", *number) : "not in the database";
}

/// What a flow has where a term has its values.
std::string seen(TermKey key, const CompiledRules& rules, const Facts& facts) {
  switch (key) {
    case TermKey::host: return seen_name(facts.name);
    case TermKey::to: return facts.destination.address.text();
    case TermKey::client: return facts.client.address.text();
    case TermKey::port: return fmt::format("{}", facts.destination.port);
    case TermKey::client_port:
      return facts.client.port == 0 ? "not known" : fmt::format("{}", facts.client.port);
    case TermKey::proto: return facts.protocol == Protocol::tcp ? "tcp" : "udp";
    case TermKey::app:
      return facts.app.state == FactState::known ? std::string(app_protocol_name(facts.app.app))
                                                 : std::string(absent(facts.app.state));
    case TermKey::method:
    case TermKey::path: return seen_http(key, facts.http);
    case TermKey::interface:
      if (!facts.interface) return "not known";
      return facts.interface->empty() ? "none: it is this machine's own" : *facts.interface;
    case TermKey::country:
    case TermKey::asn: return seen_place(key, rules, facts.destination.address);
    case TermKey::time: return seen_time(facts.minute_of_week);
    default: return seen_process(key, facts.process);
  }
}

/// A real flow has it, but whoever asks did not say it.
bool is_untold(TermKey key, const Facts& facts) {
  if (key == TermKey::interface) return !facts.interface;
  return key == TermKey::client_port && facts.client.port == 0;
}

class Explainer {
 public:
  Explainer(const Ruleset& set, const Facts& facts, Wait wait)
      : set_(set), facts_(facts), evaluation_(set.compiled(), facts, wait, lookups_) {}

  void distrust_the_name() { evaluation_.take_name(Evaluation::Name::distrusted); }
  RuleExplanation rule(std::uint32_t number);

 private:
  const Ruleset& set_;
  const Facts& facts_;
  Lookups lookups_;
  Evaluation evaluation_;
};

RuleExplanation Explainer::rule(std::uint32_t number) {
  using Outcome = RuleExplanation::Outcome;
  const CompiledRule& compiled = set_.compiled().rules[number - 1];
  const Rule& written = set_.rule(number);
  RuleExplanation out{.rule = number, .outcome = Outcome::matched};
  for (std::uint32_t i = 0; i < compiled.terms; ++i) {
    const std::uint32_t id = compiled.first_term + i;
    Needs needs;
    const Answer answer = evaluation_.answer(set_.compiled().terms[id], id, needs);
    const Term& term = written.terms[i];
    const bool open = answer == Answer::unknown || is_untold(term.key, facts_);
    if (answer == Answer::yes || (open && out.outcome == Outcome::undecided)) continue;
    out.outcome = open ? Outcome::undecided : Outcome::not_matched;
    out.term = written.text.substr(term.span.first, term.span.length);
    out.seen = seen(term.key, set_.compiled(), facts_);
    out.needs = answer == Answer::unknown ? needs : Needs{};
    if (out.outcome == Outcome::not_matched) return out;
  }
  return out;
}

}  // namespace

std::string needs_text(Needs needs) {
  constexpr std::pair<std::uint8_t, std::string_view> kTexts[] = {
      {Needs::kName, "the host name"},
      {Needs::kApp, "the protocol"},
      {Needs::kHttp, "the HTTP request"},
      {Needs::kProcess, "the process"},
      {Needs::kVerification, "a proof of the host name"}};
  std::vector<std::string_view> words;
  for (const auto& [need, text] : kTexts) {
    if (!needs.has(need)) continue;
    words.push_back(text);
  }
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i != 0) out += i + 1 == words.size() ? " and " : ", ";
    out += words[i];
  }
  return out;
}

Explanation explain(const Ruleset& rules, const Facts& facts, Wait wait) {
  Explanation out{.decision = decide(rules, facts, wait), .rules = {}};
  Explainer explainer(rules, facts, wait);
  if (out.decision.name_mismatch) explainer.distrust_the_name();
  for (std::uint32_t number = 1; number <= rules.size(); ++number) {
    out.rules.push_back(explainer.rule(number));
    if (out.rules.back().outcome == RuleExplanation::Outcome::matched) break;
  }
  return out;
}

}  // namespace shunt
