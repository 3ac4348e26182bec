// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <span>

#include "base/error.h"

namespace shunt::cli {

/// Prints each on stderr, and how many there are; yields the exit code of the first one's kind.
int report_mistakes(std::span<const Error> mistakes);

/// Prints each on stderr as "warning: …", with its place.
void report_warnings(std::span<const Error> warnings);

}  // namespace shunt::cli
