// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>

namespace shunt::cli {

/// What ps(1), top(1) and pkill(1) call this process, by name (at most 15 bytes) and by command
/// line. The arguments that main() got are overwritten: copy them before.
void set_process_title(std::string_view title);

}  // namespace shunt::cli
