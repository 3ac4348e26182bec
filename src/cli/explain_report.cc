// SPDX-License-Identifier: GPL-2.0-only
#include "cli/explain_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "base/caret.h"
#include "base/escape.h"
#include "base/units.h"
#include "observe/shown.h"

namespace shunt::cli {
namespace {

using Outcome = RuleExplanation::Outcome;

std::string_view protocol_name(Protocol protocol) {
  return protocol == Protocol::tcp ? "tcp" : "udp";
}

std::string rule_title(const Ruleset& rules, std::uint32_t number) {
  if (number == 0) return "no rule matches: the default";
  const RulePlace& place = rules.place(number);
  const std::string where =
      place.line == 0 ? std::string() : fmt::format(" ({}:{})", place.file, place.line);
  return fmt::format("rule {}{}", number, where);
}

std::string row(std::string_view name, std::string_view text) {
  return fmt::format("{:<10}{}\n", name, escaped(text));
}

std::string flow_title(const Facts& facts) {
  std::string text =
      fmt::format("{} {} from {}", protocol_name(facts.protocol), facts.destination.text(),
                  facts.client.port == 0 ? facts.client.address.text() : facts.client.text());
  if (facts.interface && facts.interface->empty()) text += ", this machine";
  if (facts.interface && !facts.interface->empty()) text += ", in on " + *facts.interface;
  if (facts.name.state == FactState::known) text += ", host " + facts.name.name;
  if (facts.process.state == FactState::known) text += ", process " + facts.process.name;
  return text;
}

/// Where and when the decision is made.
std::string moment(const ExplainedFlow& flow) {
  const Needs needs = flow.answer.now.decision.needs;
  if (flow.answer.in_kernel) return "in the kernel: the flow never reaches shunt";
  if (!needs.any()) return "by shunt, at once";
  if (!needs.first_bytes()) return fmt::format("by shunt, once it knows {}", needs_text(needs));
  return fmt::format("by shunt, once it knows {}, or after {}; {}", needs_text(needs),
                     format_duration_ms(flow.sniff_wait_ms),
                     flow.facts.protocol == Protocol::tcp ? "the client is let in first"
                                                          : "its datagrams wait meanwhile");
}

std::string fake_text(const ExplainedFlow& flow) {
  const std::string address = flow.facts.destination.address.text();
  if (flow.fake->name.empty()) return address + " is a fake address that stands for no name";
  return fmt::format("{} is a fake address that stands for {}", address, flow.fake->name);
}

bool leads_nowhere(const ExplainedFlow& flow) { return flow.fake && flow.fake->name.empty(); }

struct RuleRow {
  std::string number;
  std::string_view outcome;
  std::string why;  ///< escaped
};

/// What the question leaves out, as an option.
std::string_view option_for(std::string_view term) {
  return term.contains("client-port") ? " (--client-port PORT)" : " (--in IFACE)";
}

RuleRow rule_row(const Ruleset& rules, const RuleExplanation& rule) {
  RuleRow out{.number = fmt::format("rule {}", rule.rule), .outcome = "no", .why = {}};
  if (rule.outcome == Outcome::matched) {
    out.outcome = "yes";
    out.why = as_written(rules.rule(rule.rule).text);
  } else if (rule.term.empty()) {
    out.why = "nothing ties the name to the address";
  } else if (rule.outcome == Outcome::undecided) {
    out.outcome = "?";
    out.why = as_written(rule.term) + (rule.needs.any()
                                           ? fmt::format(": waits for {}", needs_text(rule.needs))
                                           : fmt::format(": not told{}", option_for(rule.term)));
  } else {
    out.why = fmt::format("{}: it is {}", as_written(rule.term), escaped(rule.seen));
  }
  return out;
}

std::string rule_table(const Ruleset& rules, const Explanation& explanation) {
  std::vector<RuleRow> rows;
  std::size_t width = 0;
  for (const RuleExplanation& rule : explanation.rules) {
    rows.push_back(rule_row(rules, rule));
    width = std::max(width, rows.back().number.size());
  }
  std::string text;
  for (const RuleRow& one : rows) {
    std::string line = fmt::format("  {:<{}}  {:<3}  {}", one.number, width, one.outcome, one.why);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string rules_json(const Explanation& explanation) {
  std::string out;
  for (const RuleExplanation& rule : explanation.rules) {
    constexpr std::string_view kOutcomes[] = {"matched", "not_matched", "undecided"};
    out += fmt::format(R"({}{{"rule":{},"outcome":"{}")", out.empty() ? "" : ",", rule.rule,
                       kOutcomes[static_cast<std::size_t>(rule.outcome)]);
    if (!rule.term.empty()) {
      out += fmt::format(R"(,"term":{},"seen":{})", json_string(rule.term), json_string(rule.seen));
    }
    out += '}';
  }
  return out;
}

std::string needs_json(Needs needs) {
  constexpr std::pair<std::uint8_t, std::string_view> kNames[] = {
      {Needs::kName, "name"},
      {Needs::kApp, "app"},
      {Needs::kHttp, "http"},
      {Needs::kProcess, "process"},
      {Needs::kVerification, "verification"}};
  std::string out;
  for (const auto& [need, name] : kNames) {
    if (needs.has(need)) out += fmt::format(R"({}"{}")", out.empty() ? "" : ",", name);
  }
  return out;
}

}  // namespace

std::string explain_text(const ExplainedFlow& flow) {
  const FlowAnswer& answer = flow.answer;
  const bool open = answer.now.decision.needs.any() || answer.untold;
  const std::uint32_t rule = answer.at_last.decision.rule;
  std::string text = row("flow", flow_title(flow.facts));
  if (flow.fake) text += row("fake", fake_text(flow));
  if (flow.with_capture) {
    text += row("captured",
                fmt::format("{}: {}", answer.capture.captured ? "yes" : "no", answer.capture.why));
  }
  if (!answer.capture.captured) {
    return text + row("goes", answer.capture.goes);
  }
  if (leads_nowhere(flow)) return text + row("goes", "nowhere: it is refused, no rule is asked");
  text += row("decided", moment(flow));
  text += row(open ? "otherwise" : "by", rule_title(flow.rules, rule));
  text += row("action", flow.rules.verdict_text(rule));
  if (answer.at_last.decision.name_mismatch) {
    text += row("", "the name alone does not permit it: nothing ties it to the address");
  }
  if (!flow.let_in.empty()) text += row("client", flow.let_in);
  return text + (answer.now.rules.empty() ? "" : "\n") + rule_table(flow.rules, answer.now);
}

std::string explain_json(const ExplainedFlow& flow) {
  const FlowAnswer& answer = flow.answer;
  const Facts& facts = flow.facts;
  std::string out = fmt::format(
      R"({{"v":1,"protocol":"{}","destination":"{}","destination_port":{},"client":"{}")",
      protocol_name(facts.protocol), facts.destination.address.text(), facts.destination.port,
      facts.client.address.text());
  const auto string = [&out](std::string_view key, std::string_view value) {
    if (!value.empty()) out += fmt::format(R"(,"{}":{})", key, json_string(value));
  };
  string("host", facts.name.name);
  if (flow.fake) out += R"(,"fake":true)";
  string("process", facts.process.name);
  if (flow.with_capture) {
    out += fmt::format(R"(,"captured":{})", answer.capture.captured);
    string("capture", answer.capture.why);
  }
  if (answer.capture.captured && !leads_nowhere(flow)) {
    const std::uint32_t rule = answer.at_last.decision.rule;
    out += fmt::format(R"(,"rule":{},"in_kernel":{})", rule, answer.in_kernel);
    string("action", flow.rules.verdict_text(rule));
    string("let_in", flow.let_in);
    out += fmt::format(R"(,"waits_for":[{}],"rules":[{}])", needs_json(answer.now.decision.needs),
                       rules_json(answer.now));
  }
  return out + "}\n";
}

}  // namespace shunt::cli
