// SPDX-License-Identifier: GPL-2.0-only
#include "cli/commands.h"
#include "cli/output.h"
#include "kernel/toa.h"

namespace shunt::cli {
namespace {

Result<int> run_version(const Options&) {
  SHUNT_CHECK(print("shunt " SHUNT_VERSION "\n"));
  if (!ToaProgram::built_in()) SHUNT_CHECK(print("built without eBPF: no way out has `toa`\n"));
  return 0;
}

}  // namespace

constinit const Command kVersionCommand = {
    .name = "version",
    .summary = "print shunt's version",
    .usage = "",
    .description = "Prints shunt's version.",
    .run = run_version,
};

}  // namespace shunt::cli
