// SPDX-License-Identifier: GPL-2.0-only
// Files of names or networks: `host @ads.txt`, `to @networks.txt`. One entry a line; `#` begins a
// comment; blank lines are skipped. A file of names may be in the format of /etc/hosts: behind an
// address come names. The parsers are pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/network.h"

namespace shunt {

struct ListedName {
  std::string name;    ///< lower case, without a final dot
  bool below = false;  ///< written as "*.name"
};

/// At most limits::kListEntries. A line that is no entry is an Error with its place; `path` is for
/// that alone.
[[nodiscard]] Result<std::vector<ListedName>> parse_name_list(std::string_view text,
                                                              const std::string& path);
[[nodiscard]] Result<std::vector<Network>> parse_network_list(std::string_view text,
                                                              const std::string& path);

}  // namespace shunt
