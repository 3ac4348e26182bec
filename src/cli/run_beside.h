// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <functional>

#include "base/result.h"
#include "cli/carrier.h"
#include "cli/run_method.h"

namespace shunt::cli {

class Options;

/// Runs the command that the words of `options` say, beside a companion that lives `life`, and
/// yields its exit code, or that of the reason why it could not be run, which is reported. `enter`
/// is called in the command's process, with what the companion gave. Takes over all signals; the
/// process must have one thread.
Result<int> run_beside(const Options& options, CompanionLife life,
                       const std::function<Result<void>(const RunDoor&)>& enter);

}  // namespace shunt::cli
