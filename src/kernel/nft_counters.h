// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shunt {

struct NftCounter {
  std::string name;
  std::uint64_t packets = 0;
};

/// The named counters of one table of the inet family, by netlink: 1,000 of them in a few
/// milliseconds. Needs CAP_NET_ADMIN; that the table is owned by another socket does not matter.
Result<std::vector<NftCounter>> list_nft_counters(std::string_view table);

}  // namespace shunt
