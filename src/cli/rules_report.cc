// SPDX-License-Identifier: GPL-2.0-only
#include "cli/rules_report.h"

#include <fmt/format.h>

#include <charconv>
#include <ctime>

#include "base/caret.h"
#include "observe/shown.h"

namespace shunt::cli {
namespace {

using TimePoint = std::chrono::system_clock::time_point;

std::string time_text(TimePoint when, const char* format, bool utc) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
  std::tm parts{};
  utc ? ::gmtime_r(&seconds, &parts) : ::localtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, format, &parts)};
}

/// A page has room for any line, also where each byte is escaped.
std::string shortened(std::string_view text) {
  constexpr std::size_t kMost = 8192;
  return text.size() <= kMost ? std::string(text) : fmt::format("{}…", text.substr(0, kMost));
}

std::string text_line(const Ruleset& rules, std::uint32_t rule, const RuleHits& hits) {
  const bool kernel = hits.in_kernel || hits.kernel != 0;
  const std::string what = rule == 0
                               ? fmt::format("default: {}", rules.verdict_text(0))
                               : fmt::format("{}: {}", rule, shortened(rules.rule(rule).text));
  return fmt::format("{:>12} {:>12}  {}  {}", hits.total,
                     kernel ? std::to_string(hits.kernel) : "-",
                     time_text(hits.since, "%Y-%m-%d %H:%M:%S", false), as_written(what));
}

std::string json_line(const Ruleset& rules, std::uint32_t rule, const RuleHits& hits) {
  std::string line = fmt::format(R"({{"v":1,"rule":{})", rule);
  if (rule != 0) {
    line += R"(,"text":)";
    append_json_string(line, shortened(rules.rule(rule).text));
  }
  line += R"(,"action":)";
  append_json_string(line, rules.verdict_text(rule));
  return line + fmt::format(R"(,"hits":{},"kernel_hits":{},"in_kernel":{},"since":"{}"}})",
                            hits.total, hits.kernel, hits.in_kernel,
                            time_text(hits.since, "%Y-%m-%dT%H:%M:%SZ", true));
}

}  // namespace

std::string_view rule_lines_heading() {
  return "        HITS    BY KERNEL  LOADED               RULE";
}

std::vector<std::string> rule_lines(const Ruleset& rules, const std::vector<RuleHits>& hits,
                                    bool json, std::uint32_t first, std::size_t bytes) {
  std::vector<std::string> lines;
  std::size_t used = 0;
  for (std::uint32_t at = first; at <= rules.size() + 1; ++at) {
    const std::uint32_t rule = at > rules.size() ? 0 : at;
    lines.push_back(json ? json_line(rules, rule, hits[rule]) : text_line(rules, rule, hits[rule]));
    used += lines.back().size();
    if (used > bytes && lines.size() > 1) {
      lines.pop_back();
      break;
    }
  }
  return lines;
}

std::string page_text(const RulesPage& page) { return fmt::format("{} {}", page.state, page.next); }

std::optional<RulesPage> page_of(std::string_view text) {
  RulesPage page;
  const char* const end = text.data() + text.size();
  const auto state = std::from_chars(text.data(), end, page.state);
  if (state.ec != std::errc() || state.ptr == end || *state.ptr != ' ') return std::nullopt;
  const auto next = std::from_chars(state.ptr + 1, end, page.next);
  if (next.ec != std::errc() || next.ptr != end) return std::nullopt;
  return page;
}

}  // namespace shunt::cli
