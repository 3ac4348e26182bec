// SPDX-License-Identifier: GPL-2.0-only
#include "cli/commands.h"

namespace shunt::cli {
namespace {

Result<int> run_down(const Options&) {
  return Failure(make_error(Kind::unsupported, "down is not built yet"));
}

}  // namespace

constinit const Command kDownCommand = {
    .name = "down",
    .summary = "remove what a killed shunt left behind",
    .usage = "",
    .description =
        "Removes the rules, routes and sysctls that shunt left when it was killed, and those of a "
        "gateway with --on-exit closed. Spares what belongs to a shunt that still runs.",
    .run = run_down,
};

}  // namespace shunt::cli
