// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dns/dns_config.h"

namespace shunt {

/// Names that are never given fake addresses, as matches_name() wants them. A reload may put others
/// in their place. Any thread.
class RealNames {
 public:
  explicit RealNames(std::vector<std::string> patterns) { replace(std::move(patterns)); }
  [[nodiscard]] bool match(std::string_view name) const { return matches_name(*get(), name); }
  void replace(std::vector<std::string> patterns) {
    auto fresh = std::make_shared<const std::vector<std::string>>(std::move(patterns));
    const std::scoped_lock lock(mutex_);
    patterns_.swap(fresh);  // the old ones go behind the lock
  }

 private:
  [[nodiscard]] std::shared_ptr<const std::vector<std::string>> get() const {
    const std::scoped_lock lock(mutex_);
    return patterns_;
  }

  mutable std::mutex mutex_;
  std::shared_ptr<const std::vector<std::string>> patterns_;
};

}  // namespace shunt
