// SPDX-License-Identifier: GPL-2.0-only
#include "cli/config_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/terminal.h"
#include "cli/output.h"
#include "cli/report.h"

namespace shunt::cli {

int report_mistakes(std::span<const Error> mistakes) {
  const bool colour = wants_colour(STDERR_FILENO);
  for (const Error& mistake : mistakes) print_error(format_error(mistake, colour));
  if (mistakes.size() > 1) print_error(fmt::format("{} mistakes\n", mistakes.size()));
  return mistakes.empty() ? 0 : exit_code(mistakes.front().kind);
}

void report_warnings(std::span<const Error> warnings) {
  const bool colour = wants_colour(STDERR_FILENO);
  for (const Error& warning : warnings) print_error(format_warning(warning, colour));
}

}  // namespace shunt::cli
