// SPDX-License-Identifier: GPL-2.0-only
#include "egress/own_addresses.h"

#include <algorithm>
#include <chrono>

#include "base/limits.h"
#include "kernel/links.h"

namespace shunt {

bool OwnAddresses::contains(const Address& address) const {
  if (address.is_v4() && address.is_loopback()) return true;  // the whole of 127.0.0.0/8
  const auto now = Clock::now();
  const std::scoped_lock lock(mutex_);
  const bool never = looked_at_ == Clock::time_point::min();
  if (never || now - looked_at_ > std::chrono::milliseconds(limits::kOwnAddressesMs)) {
    if (const auto listed = list_addresses()) {
      sorted_.clear();
      for (const InterfaceAddress& entry : *listed) sorted_.push_back(entry.address);
      std::ranges::sort(sorted_);
    }
    looked_at_ = now;
  }
  return std::ranges::binary_search(sorted_, address);
}

}  // namespace shunt
