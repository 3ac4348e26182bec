// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "cli/route_request.h"
#include "kernel/instance.h"
#include "kernel/nft.h"
#include "kernel/policy_route.h"

namespace shunt::cli {

/// The policy routing of `shunt route`: marked packets are routed by a table, the user's own or
/// one with a default route for each gateway, and are unreachable where that has no route. Gone
/// with this object; after a SIGKILL the rules look for a mark that nobody bears, until `shunt
/// down` or the next start removes them (kernel/sweep.h).
class RouteRules {
 public:
  /// Needs CAP_NET_ADMIN where the request needs rules; does nothing where it does not.
  static Result<RouteRules> create(const RouteRequest& request);

  /// For SO_MARK; 0: none.
  [[nodiscard]] std::uint32_t mark() const { return mark_; }

 private:
  Result<void> add_routes(const RouteRequest& request);
  Result<void> add_rules(const RouteRequest& request);

  std::uint32_t mark_ = 0;
  // In this order: what was made last goes first.
  std::optional<Instance> instance_;
  std::optional<NftTable> sign_of_life_;  // empty; others see by it that somebody lives
  std::vector<PolicyRoute> routes_;
  std::vector<PolicyRule> rules_;
};

}  // namespace shunt::cli
