// SPDX-License-Identifier: GPL-2.0-only
// The rules that decide about flows, and the ways out that carry them. A reload makes a new policy
// and puts it in the place of the old one; a live flow keeps the one that decided it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "egress/way_out.h"
#include "net/endpoint.h"
#include "policy/hit_counters.h"
#include "policy/ruleset.h"

namespace shunt {

/// Never changes but for its counters; shared by all threads.
class Policy {
 public:
  /// `ways_out` in the order of Ruleset::ways_out(). Rules that stand in `before` (null: there was
  /// nothing) as well count on. `for_dns` leads to the server that shunt asks itself; null: what
  /// carries the flows that no rule matches does. `host_resolvers` are loopback addresses of this
  /// machine's own: see carrier().
  static std::shared_ptr<const Policy> create(std::shared_ptr<const Ruleset> rules,
                                              std::vector<std::shared_ptr<const WayOut>> ways_out,
                                              const Policy* before = nullptr,
                                              std::shared_ptr<const WayOut> for_dns = nullptr,
                                              std::vector<Address> host_resolvers = {});
  /// Without rules: everything goes one way.
  static std::shared_ptr<const Policy> always(std::shared_ptr<const WayOut> way_out);

  [[nodiscard]] const Ruleset& rules() const { return *rules_; }
  /// Made later than the other.
  [[nodiscard]] bool newer_than(const Policy& other) const { return serial_ > other.serial_; }
  /// Another number for each policy of the process.
  [[nodiscard]] std::uint64_t serial() const { return serial_; }
  /// What carries the flows that a rule (0: none) decided: its way out, or a group of those that
  /// its `else`s name. Null where the rule denies.
  [[nodiscard]] const WayOut* carrier(std::uint32_t rule) const { return carriers_[rule]; }
  /// The same of a flow to `destination`: what no rule matches goes direct to port 53 of the host's
  /// resolvers. Through a proxy their addresses would be the proxy's own.
  [[nodiscard]] const WayOut* carrier(std::uint32_t rule, const Endpoint& destination) const;
  /// Null where that would be the default, and it denies.
  [[nodiscard]] const WayOut* for_dns() const {
    return for_dns_ != nullptr ? for_dns_.get() : carriers_[0];
  }
  void hit(std::uint32_t rule) const { hits_.hit(rule); }
  [[nodiscard]] const HitCounters& hits() const { return hits_; }

  /// Whether a flow that `rule` decided here fares the same by `other_rule` of `other`: by names.
  [[nodiscard]] bool same_verdict(std::uint32_t rule, const Policy& other,
                                  std::uint32_t other_rule) const;

 private:
  Policy(std::shared_ptr<const Ruleset> rules, const Policy* before);
  const WayOut* carrier_of(const Verdict& verdict);

  std::uint64_t serial_;
  std::shared_ptr<const Ruleset> rules_;
  std::vector<std::shared_ptr<const WayOut>> ways_out_;
  std::vector<std::vector<std::uint16_t>> chains_;     // what each of groups_ stands for
  std::vector<std::shared_ptr<const WayOut>> groups_;  // one for each chain of `else`s
  std::shared_ptr<const WayOut> for_dns_;
  std::vector<Address> host_resolvers_;
  std::vector<const WayOut*> carriers_;  // [0] is the fallback's
  mutable HitCounters hits_;
};

/// The policy of now. A lock around a pointer: std::atomic<std::shared_ptr> is one as well in
/// libstdc++ 12, and ThreadSanitizer does not know that one. Any thread.
class CurrentPolicy {
 public:
  explicit CurrentPolicy(std::shared_ptr<const Policy> policy) : policy_(std::move(policy)) {}
  [[nodiscard]] std::shared_ptr<const Policy> get() const {
    const std::scoped_lock lock(mutex_);
    return policy_;
  }
  void replace(std::shared_ptr<const Policy> policy) {
    const std::scoped_lock lock(mutex_);
    policy_.swap(policy);  // the old one goes behind the lock
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Policy> policy_;
};

}  // namespace shunt
