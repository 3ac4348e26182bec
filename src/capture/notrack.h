// SPDX-License-Identifier: GPL-2.0-only
// Whether captured connections can go without connection tracking (`notrack`): their two packets'
// worth of bookkeeping at either end of a life is 5 to 8 % of what a short one costs. What arrives
// for shunt's sockets is told by these sockets then, and whatever else is to be captured goes to
// the listener, which resets what it does not know.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "capture/gateway_plan.h"

namespace shunt {

/// What of `options` needs the connection mark of captured connections.
struct NotrackConflict {
  std::string message;
  std::string fix_in_file;  ///< in the words of keys
  std::string fix_in_flags;

  bool operator==(const NotrackConflict&) const = default;
};
/// The first; none: nothing. Pure.
[[nodiscard]] std::optional<NotrackConflict> notrack_conflict(const GatewayOptions& options);

/// The first table of a ruleset, as nft prints it, with a rule that looks at connection tracking or
/// translates destinations: "table inet filter (ct state established,related accept)". Tables of
/// shunt do not count. Pure.
[[nodiscard]] std::optional<std::string> table_that_tracks(std::string_view ruleset);

/// S062 where this machine, or `method`, does not let captured connections go untracked. Reads the
/// rules of this network namespace; needs CAP_NET_ADMIN.
Result<void> check_notrack(const GatewayOptions& options, CaptureMethod method);

}  // namespace shunt
