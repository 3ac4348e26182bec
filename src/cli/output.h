// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>

#include "base/result.h"

namespace shunt::cli {

/// Writes to standard output. A full disk or a closed pipe is an error, so that
/// `shunt help --man > file` never leaves half a file with exit code 0.
Result<void> print(std::string_view text);

/// Writes to standard error; failures are ignored, there is nobody left to tell.
void print_error(std::string_view text);

}  // namespace shunt::cli
