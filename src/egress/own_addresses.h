// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <mutex>
#include <vector>

#include "flow/flow.h"
#include "net/endpoint.h"

namespace shunt {

/// This machine's addresses, of the calling thread's network namespace; at most
/// limits::kOwnAddressesMs old. Any thread.
class OwnAddresses {
 public:
  [[nodiscard]] bool contains(const Address& address) const;

 private:
  mutable std::mutex mutex_;
  mutable std::vector<Address> sorted_;
  mutable Clock::time_point looked_at_ = Clock::time_point::min();
};

}  // namespace shunt
