// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>

#include "base/result.h"
#include "control/message.h"

namespace shunt::cli {

/// Asks the `shunt serve` of this network namespace by its control socket, and waits for the
/// answer. Kind::unreachable, with its number and the fix, when none runs or none answers.
Result<control::Answer> ask_daemon(std::string_view request);

}  // namespace shunt::cli
