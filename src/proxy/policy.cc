// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/policy.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "dns/message.h"
#include "egress/group.h"

namespace shunt {

namespace {

std::uint64_t next_serial() {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

}  // namespace

Policy::Policy(std::shared_ptr<const Ruleset> rules, const Policy* before)
    : serial_(next_serial()),
      rules_(std::move(rules)),
      hits_(before == nullptr ? HitCounters(*rules_)
                              : HitCounters(*rules_, before->rules(), before->hits())) {}

std::shared_ptr<const Policy> Policy::create(std::shared_ptr<const Ruleset> rules,
                                             std::vector<std::shared_ptr<const WayOut>> ways_out,
                                             const Policy* before,
                                             std::shared_ptr<const WayOut> for_dns,
                                             std::vector<Address> host_resolvers) {
  std::shared_ptr<Policy> policy(new Policy(std::move(rules), before));
  policy->ways_out_ = std::move(ways_out);
  policy->for_dns_ = std::move(for_dns);
  policy->host_resolvers_ = std::move(host_resolvers);
  policy->carriers_.reserve(policy->rules_->size() + 1);
  for (std::uint32_t rule = 0; rule <= policy->rules_->size(); ++rule) {
    policy->carriers_.push_back(policy->carrier_of(policy->rules_->verdict(rule)));
  }
  return policy;
}

std::shared_ptr<const Policy> Policy::always(std::shared_ptr<const WayOut> way_out) {
  return create(Ruleset::compile({}).value(), {std::move(way_out)});
}

const WayOut* Policy::carrier(std::uint32_t rule, const Endpoint& destination) const {
  const bool host_resolver =
      rule == 0 && destination.port == dns::kPort &&
      std::ranges::find(host_resolvers_, destination.address) != host_resolvers_.end();
  return host_resolver ? ways_out_.front().get() : carriers_[rule];
}

const WayOut* Policy::carrier_of(const Verdict& verdict) {
  if (verdict.denies()) return nullptr;
  if (verdict.ways.size() == 1) return ways_out_[verdict.ways.front()].get();
  const auto known = std::ranges::find(chains_, verdict.ways);
  if (known != chains_.end()) {
    return groups_[static_cast<std::size_t>(known - chains_.begin())].get();
  }
  std::vector<Group::Member> members;
  for (const std::uint16_t way : verdict.ways) {
    members.push_back({std::string(ways_out_[way]->name()), ways_out_[way]});
  }
  chains_.push_back(verdict.ways);
  groups_.push_back(Group::create("", GroupKind::failover, std::move(members)));
  return groups_.back().get();
}

bool Policy::same_verdict(std::uint32_t rule, const Policy& other, std::uint32_t other_rule) const {
  const Verdict& here = rules_->verdict(rule);
  const Verdict& there = other.rules_->verdict(other_rule);
  const auto same_way = [&](std::uint16_t a, std::uint16_t b) {
    return rules_->ways_out()[a] == other.rules_->ways_out()[b];
  };
  return here.kind == there.kind && std::ranges::equal(here.ways, there.ways, same_way);
}

}  // namespace shunt
