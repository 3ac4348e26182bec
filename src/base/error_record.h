// SPDX-License-Identifier: GPL-2.0-only
// An Error on its way from one process of shunt's to another.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace shunt {

/// At most kErrorRecordBytes; longer texts are cut.
[[nodiscard]] std::string error_record(const Error& error);
inline constexpr std::size_t kErrorRecordBytes = 4000;

/// What error_record() wrote. Anything malformed becomes some Error; a process that shares our
/// memory image wrote it, so this is no defence, only no crash.
[[nodiscard]] Error error_from_record(std::string_view record);

}  // namespace shunt
