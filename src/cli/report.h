// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace shunt::cli {

/// "error[S004]: …", the place and "  help: …", each on a line of its own, escaped.
std::string format_error(const Error& error, bool colour);

/// The same as a warning: "warning: …".
std::string format_warning(const Error& warning, bool colour);

/// Prints the error on stderr and returns the exit code of its kind.
int report(const Error& error);

/// A warning in the same form: "warning: …".
void report_warning(std::string_view message, std::string_view help = {});

}  // namespace shunt::cli
