// SPDX-License-Identifier: GPL-2.0-only
// The chapters of the demo. Each says what it shows, or why it cannot be shown here.
#pragma once

#include "base/result.h"
#include "cli/demo_story.h"

namespace shunt::cli {

/// By TPROXY, this machine's own traffic, kill -9, and by REDIRECT.
Result<void> tell_of_gateways(DemoStory& story);
/// A command in a namespace, and by every other method that works here.
Result<void> tell_of_run(DemoStory& story);
/// Programs that run already.
Result<void> tell_of_watch(DemoStory& story);
/// Another way out, with no proxy in it.
Result<void> tell_of_route(DemoStory& story);

}  // namespace shunt::cli
