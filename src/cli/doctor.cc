// SPDX-License-Identifier: GPL-2.0-only
#include "cli/commands.h"

namespace shunt::cli {
namespace {

constexpr Option kOptions[] = {
    {.name = "json", .help = "the findings as JSON, one object a line"},
};

Result<int> run_doctor(const Options&) {
  return Failure(make_error(Kind::unsupported, "doctor is not built yet"));
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
