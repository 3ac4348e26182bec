// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <optional>
#include <string>

#include "base/result.h"

namespace shunt {

/// The file that execvp(3) would execute for `program`, by PATH; nothing where there is none.
std::optional<std::string> find_program(const std::string& program);

/// Whether the command `program` would load libshunt-preload.so, by its file (examine.h). The Error
/// says why not, and what captures it instead. A program that does not exist is no Error: who
/// executes it says so better.
Result<void> check_preload_target(const std::string& program);

/// Where libshunt-preload.so is: beside this program, or in the lib directory of its installation.
Result<std::string> find_preload_library();

}  // namespace shunt
