// SPDX-License-Identifier: GPL-2.0-only
// All commands. Each is a table in a file of its own, src/cli/NAME.cc.
#pragma once

#include <span>
#include <string_view>

#include "cli/options.h"

namespace shunt::cli {

extern const Command kRunCommand;
extern const Command kRouteCommand;
extern const Command kWatchCommand;
extern const Command kGatewayCommand;
extern const Command kPlanCommand;
extern const Command kServeCommand;
extern const Command kReloadCommand;
extern const Command kRulesCommand;
extern const Command kCheckCommand;
extern const Command kExplainCommand;
extern const Command kDoctorCommand;
extern const Command kDownCommand;
extern const Command kDemoCommand;
extern const Command kVersionCommand;
extern const Command kHelpCommand;
extern const Command kCompletionCommand;

/// In the order in which help lists them.
std::span<const Command* const> commands();

/// Null where there is none of that name.
const Command* find_command(std::string_view name);

/// The command whose options follow the first word (`shunt plan gateway -i br-lan`); null where
/// the word is a mere word.
const Command* subject_of(const Command& command, std::string_view first_word);

/// Runs the command line behind `shunt`: finds the command, parses its options, runs it, prints
/// its error. Returns the exit code.
int run_command_line(std::span<const std::string_view> arguments);

}  // namespace shunt::cli
