// SPDX-License-Identifier: GPL-2.0-only
// Puts back what other programs delete. systemd-networkd and some VPN clients flush foreign rules
// when they start, a network manager may take the TUN device down. The guard listens to the
// kernel's rule, route and link events and, at most kCheckDelayMs later, compares with what should
// be there (one comparison for a burst of events). If somebody keeps deleting, it keeps restoring,
// once a kContestedDelayMs, so that neither side spins.
//
// One descriptor to poll; no thread of its own. Use it from the thread that made it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "kernel/netlink.h"
#include "kernel/policy_route.h"
#include "kernel/tun.h"
#include "net/unique_fd.h"

namespace shunt {

class RuleGuard {
 public:
  static constexpr std::uint32_t kCheckDelayMs = 100;
  static constexpr std::uint32_t kContestedDelayMs = 1500;  ///< reliability row 15 allows 2 s
  static constexpr std::uint32_t kContestedAfter = 8;       ///< restorations within a minute

  struct Guarded {
    std::vector<RouteSpec> routes{};
    std::vector<RuleSpec> rules{};
    TunDevice* tun = nullptr;  ///< outlives the guard; may be null
  };

  /// Watches the calling thread's network namespace. Call after everything is installed.
  static Result<RuleGuard> create(Guarded guarded);

  /// Watches these from now on instead.
  void replace(Guarded guarded);

  /// Readable when handle() should be called.
  [[nodiscard]] int fd() const { return poll_.get(); }
  /// Reads events and restores what is due. Never blocks for long; logs what it put back. Must be
  /// called in the network namespace that the guard was made in.
  void handle();
  [[nodiscard]] std::uint64_t restored() const { return restored_; }

 private:
  RuleGuard(Guarded guarded, NetlinkSocket events, UniqueFd timer, UniqueFd poll);
  [[nodiscard]] bool concerns_us(const nlmsghdr& message) const;
  void schedule();
  Result<void> restore_missing();
  Result<void> restore_routes();
  Result<void> restore_rules();
  void note_restored(std::string_view what);

  Guarded guarded_;
  NetlinkSocket events_;
  UniqueFd timer_;
  UniqueFd poll_;
  bool scheduled_ = false;
  std::uint64_t restored_ = 0;
  std::uint32_t recent_ = 0;  // restorations since window_start_
  std::chrono::steady_clock::time_point window_start_;
  std::unique_ptr<RateLimitedLog> log_ = std::make_unique<RateLimitedLog>();
};

}  // namespace shunt
