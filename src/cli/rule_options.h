// SPDX-License-Identifier: GPL-2.0-only
// What --rule and --via say together.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "egress/way_out.h"
#include "net/endpoint.h"
#include "policy/ruleset.h"
#include "proxy/policy.h"

namespace shunt::cli {

class Options;

/// The rules of --rule, in their order. They may name the proxy of --via as "via"; what none of
/// them matches goes there, or direct without one. Reads files that they name, looks users up. The
/// first mistake is the error.
Result<std::shared_ptr<const Ruleset>> rules_of(const Options& options);

/// `via` is what --via says, or direct. `host_resolvers`: see Policy::create().
std::shared_ptr<const Policy> policy_of(std::shared_ptr<const Ruleset> rules,
                                        std::shared_ptr<const WayOut> direct,
                                        std::shared_ptr<const WayOut> via,
                                        std::vector<Address> host_resolvers = {});

/// "by 2 rules; what none of them matches goes direct"; "" without rules.
std::string rules_text(const Ruleset& rules);

}  // namespace shunt::cli
