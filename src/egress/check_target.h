// SPDX-License-Identifier: GPL-2.0-only
// The target of a group's check (CheckSpec), from its text to what is connected to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "egress/way_out_spec.h"

namespace shunt {

struct CheckTarget {
  bool http = false;  ///< asked for by GET; else connecting is enough
  std::string host;   ///< name or address, without brackets
  std::uint16_t port = 0;
  std::string authority;  ///< of http: as it was written
  std::string path;       ///< of http: "/" at least
};

/// tcp://HOST:PORT, or http://HOST[:PORT][/PATH] with port 80 where there is none. The error has no
/// place.
[[nodiscard]] Result<CheckTarget> parse_check_target(std::string_view text);

/// What can be seen to be wrong with `spec.check`, which a group may have. Pure.
[[nodiscard]] Result<void> check_health_check(const WayOutSpec& spec);

}  // namespace shunt
