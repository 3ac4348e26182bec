// SPDX-License-Identifier: GPL-2.0-only
// First bytes that begin as HTTP or TLS and cannot be read: a server may read them, and take from
// them a name that the rules deny. They do not pass where some rule that may match denies by what
// they may say. Where no rule does, nobody minds them.
#pragma once

#include "flow/facts.h"
#include "flow/flow.h"
#include "policy/decide.h"
#include "policy/ruleset.h"

namespace shunt {

/// `decision`, or where AppFact::unread is set the first rule that might deny what cannot be read.
/// An unread request is granted nothing that it would be denied as `app other`.
[[nodiscard]] Decision strictest_of_unread(const Ruleset& rules, const Facts& facts,
                                           const Decision& decision);

/// They were not let through, as `rule` might deny them. Says so, at a limited rate.
void note_unread(const Flow& flow, AppProtocol begun, std::uint32_t rule);

}  // namespace shunt
