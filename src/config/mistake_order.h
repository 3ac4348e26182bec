// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"

namespace shunt {

/// By where they stand in `file`, as Error::place says it ("FILE:LINE:COLUMN" in its first line).
/// What stands elsewhere, or nowhere, comes behind and keeps its order.
void order_by_place(std::vector<Error>& mistakes, std::string_view file);

}  // namespace shunt
