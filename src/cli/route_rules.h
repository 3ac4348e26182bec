// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "capture/marked_traffic.h"
#include "cli/route_request.h"
#include "kernel/instance.h"
#include "kernel/nft.h"
#include "kernel/policy_route.h"
#include "kernel/rule_guard.h"

namespace shunt::cli {

/// The policy routing of `shunt route`: marked packets are routed by a table, the user's own or
/// one with a default route for each gateway, and are unreachable where that has no route. Gone
/// with this object; after a SIGKILL the rules look for a mark that nobody bears, until `shunt
/// down` or the next start removes them (kernel/sweep.h).
class RouteRules {
 public:
  enum class MarkedBy : std::uint8_t {
    sockets,   ///< that bear mark()
    nftables,  ///< mark_traffic() follows
  };
  /// Needs CAP_NET_ADMIN where the request needs rules; does nothing where it does not.
  static Result<RouteRules> create(const RouteRequest& request,
                                   MarkedBy marked_by = MarkedBy::sockets);

  /// For SO_MARK; 0: none.
  [[nodiscard]] std::uint32_t mark() const { return mark_; }
  /// Marks what leaves from now on; the mark and its mask are filled in. Replaces what was marked.
  Result<void> mark_traffic(MarkedTraffic traffic);
  /// Nothing is marked any more.
  void mark_no_more();
  /// "shunt-0"; "" where there is no table.
  [[nodiscard]] std::string table_name() const;
  /// What others must not delete.
  [[nodiscard]] RuleGuard::Guarded guarded() const;

 private:
  Result<void> add_routes(const RouteRequest& request);
  Result<void> add_rules(const RouteRequest& request);
  Result<void> choose_mark();

  std::uint32_t mark_ = 0;
  std::uint32_t mask_ = 0;
  // In this order: what was made last goes first.
  std::optional<Instance> instance_;
  std::optional<NftTable> table_;  // also a sign to others that somebody lives
  std::vector<PolicyRoute> routes_;
  std::vector<PolicyRule> rules_;
};

}  // namespace shunt::cli
