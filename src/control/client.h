// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "control/message.h"

namespace shunt::control {

/// Asks the shunt whose control socket is `path` and waits for its answer, at most `timeout_ms`
/// from one byte to the next. Kind::unreachable when nobody answers.
Result<Answer> ask(const std::string& path, std::string_view request, int timeout_ms);

}  // namespace shunt::control
