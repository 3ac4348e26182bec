// SPDX-License-Identifier: GPL-2.0-only
// Small files, whole: /proc settings and shunt's own records.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace shunt {

/// At most limits::kTextFileBytes; a longer file is an Error.
Result<std::string> read_text_file(const std::string& path);
/// One write(2), as /proc wants it. `flags` as for open(2), close-on-exec is added.
Result<void> write_text_file(const std::string& path, std::string_view text, int flags,
                             mode_t mode = 0600);

}  // namespace shunt
