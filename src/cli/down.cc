// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <set>
#include <string>
#include <utility>

#include "base/error_numbers.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/report.h"
#include "kernel/capabilities.h"
#include "kernel/cgroup.h"
#include "kernel/instance.h"

namespace shunt::cli {
namespace {

/// Of runs by eBPF, and of `watch --move`. Without the unified hierarchy there are none.
std::string swept_cgroups() {
  std::string text;
  std::set<std::string> parents;
  if (auto own = cgroup_directory()) parents.insert(*std::move(own));
  if (auto topmost = cgroup_directory_of("/")) parents.insert(*std::move(topmost));
  for (const std::string& parent : parents) {
    const int gone = sweep_cgroups(parent);
    if (gone > 0) text += fmt::format("removed: {} empty cgroups below {}\n", gone, parent);
  }
  return text;
}

Result<int> run_down(const Options&) {
  if (!has_capability(CAP_NET_ADMIN)) {
    return Failure(make_error(Kind::privilege, error_number::kGatewayPrivilege,
                              "removing rules needs CAP_NET_ADMIN", "sudo shunt down"));
  }
  const auto report = SHUNT_TRY(sweep());
  std::string text = swept_cgroups();
  for (const std::string& line : report.removed) text += fmt::format("removed: {}\n", line);
  for (const std::string& line : report.kept) text += fmt::format("kept: {}\n", line);
  if (text.empty() && report.problems.empty()) text = "nothing was left behind\n";
  SHUNT_CHECK(print(text));
  for (const std::string& problem : report.problems) report_warning(problem);
  return report.problems.empty() ? 0 : exit_code(Kind::runtime);
}

}  // namespace

constinit const Command kDownCommand = {
    .name = "down",
    .summary = "remove what a killed shunt left behind",
    .usage = "",
    .description =
        "Removes the rules, routes and sysctls that shunt left when it was killed, and those of a "
        "gateway with --on-exit closed; and empty cgroups of commands. Spares what belongs to a "
        "shunt that still runs.",
    .run = run_down,
};

}  // namespace shunt::cli
