// SPDX-License-Identifier: GPL-2.0-only
#include "cli/commands.h"

namespace shunt::cli {
namespace {

constexpr std::string_view kSubjects[] = {"gateway"};

constexpr Example kExamples[] = {
    {"shunt plan gateway -i br-lan --host", "the rules, routes and sysctls of that gateway"},
};

Result<int> run_plan(const Options&) {
  return Failure(make_error(Kind::unsupported, "plan is not built yet"));
}

}  // namespace

constinit const Command kPlanCommand = {
    .name = "plan",
    .summary = "show what a gateway would change, and change nothing",
    .usage = "gateway [the gateway's options]",
    .description =
        "Prints the nftables text, the routing rules, the routes and the sysctls that the command "
        "would apply, exactly as it would apply them.",
    .examples = kExamples,
    .word_choices = kSubjects,
    .minimum_words = 1,
    .maximum_words = std::numeric_limits<unsigned>::max(),
    .missing_word = "what to plan",
    .options_end_at_first_word = true,
    .first_word_is_command = true,
    .run = run_plan,
};

}  // namespace shunt::cli
