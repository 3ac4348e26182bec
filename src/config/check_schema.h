// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <vector>

#include "base/result.h"
#include "config/source_text.h"
#include "config/toml_text.h"

namespace shunt {

/// Appends an error for each unknown key and each value that is not of its key's kind, up to
/// limits::kConfigMistakes in all.
void check_schema(const TomlValue& root, const SourceText& source, std::vector<Error>& mistakes);

}  // namespace shunt
