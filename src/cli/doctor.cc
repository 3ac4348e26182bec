// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/escape.h"
#include "cli/commands.h"
#include "cli/host_checks.h"
#include "cli/output.h"
#include "observe/shown.h"

namespace shunt::cli {
namespace {

constexpr Option kOptions[] = {
    {.name = "json", .help = "the findings as JSON, one object a line"},
};

std::string_view mark_of(Finding::State state) {
  switch (state) {
    case Finding::State::works: return "ok  ";
    case Finding::State::note: return "note";
    case Finding::State::lacks: return "LACK";
  }
  return "";
}

std::string text_line(const Finding& finding) {
  std::string line = fmt::format("{}  {}", mark_of(finding.state), finding.name);
  if (!finding.detail.empty()) line += fmt::format(": {}", escaped(finding.detail));
  line += "\n";
  if (!finding.fix.empty()) line += fmt::format("      fix: {}\n", escaped(finding.fix));
  return line;
}

std::string_view state_word(Finding::State state) {
  switch (state) {
    case Finding::State::works: return "works";
    case Finding::State::note: return "note";
    case Finding::State::lacks: return "lacks";
  }
  return "";
}

std::string json_line(const Finding& finding) {
  std::string line = R"({"v":1,"check":)";
  append_json_string(line, finding.name);
  line += fmt::format(R"(,"state":"{}","detail":)", state_word(finding.state));
  append_json_string(line, finding.detail);
  line += R"(,"fix":)";
  append_json_string(line, finding.fix);
  return line + "}\n";
}

Result<int> run_doctor(const Options& options) {
  const bool json = options.has("json");
  bool lacks = false;
  std::string text;
  for (const Finding& finding : examine_host()) {
    lacks = lacks || finding.state == Finding::State::lacks;
    text += json ? json_line(finding) : text_line(finding);
  }
  SHUNT_CHECK(print(text));
  return lacks ? exit_code(Kind::unsupported) : 0;
}

}  // namespace

constinit const Command kDoctorCommand = {
    .name = "doctor",
    .summary = "find out what works on this machine, and what is missing",
    .usage = "[--json]",
    .description =
        "Tries each thing that the captures need in a throwaway network namespace, and "
        "says for each what works, what does not, why, and how to mend it.",
    .options = kOptions,
    .run = run_doctor,
};

}  // namespace shunt::cli
