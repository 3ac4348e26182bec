// SPDX-License-Identifier: GPL-2.0-only
#include "cli/route_rules.h"

#include <linux/capability.h>

#include <array>
#include <utility>

#include "base/error_numbers.h"
#include "kernel/capabilities.h"
#include "kernel/table_marks.h"

namespace shunt::cli {
namespace {

constexpr std::uint32_t kWholeMark = 0xffffffff;

RouteSpec default_route(const Gateway& gateway, std::uint32_t table) {
  const Family family = gateway.address.family();
  return {.family = family,
          .destination = Address::any(family),
          .table = table,
          .interface = gateway.interface,
          .gateway = gateway.address};
}

/// The user's own mark, which may have any bits, in the two rules that a table's mark gets.
std::vector<RuleSpec> rules_for(std::uint32_t mark, std::uint32_t table, std::uint32_t priority) {
  std::vector<RuleSpec> out;
  for (const Family family : {Family::ipv4, Family::ipv6}) {
    out.push_back({.family = family,
                   .priority = priority + 1,
                   .mark = mark,
                   .mask = kWholeMark,
                   .action = RuleAction::unreachable});
    out.push_back(
        {.family = family, .priority = priority, .mark = mark, .mask = kWholeMark, .table = table});
  }
  return out;
}

}  // namespace

Result<RouteRules> RouteRules::create(const RouteRequest& request, MarkedBy marked_by) {
  RouteRules made;
  made.mark_ = request.sockets.mark;
  made.mask_ = kWholeMark;
  const bool by_nftables = marked_by == MarkedBy::nftables;
  if (!request.by_rules() && !by_nftables) return made;
  SHUNT_CHECK(require_capability(CAP_NET_ADMIN, "routing by a mark, a table or a gateway"));
  made.instance_ = SHUNT_TRY(Instance::create("route"));
  made.table_ = SHUNT_TRY(NftTable::create(made.instance_->allotment().table_name, ""));
  SHUNT_CHECK(made.add_routes(request));
  if (request.by_rules()) SHUNT_CHECK(made.add_rules(request));
  if (made.mark_ == 0) SHUNT_CHECK(made.choose_mark());
  return made;
}

/// For traffic that no rule of routing looks at: its source is all that is changed.
Result<void> RouteRules::choose_mark() {
  mask_ = instance_->allotment().table_mask;
  mark_ = mask_ & (~mask_ + 1);
  if (mark_ != 0) return {};
  return Failure(make_error(Kind::conflict, error_number::kNoRoute,
                            "no bits of the packet mark are free", "--mark N"));
}

Result<void> RouteRules::add_routes(const RouteRequest& request) {
  const std::uint32_t table = instance_->allotment().route_table;
  for (const Gateway& gateway : request.gateways) {
    routes_.push_back(SHUNT_TRY(PolicyRoute::create(default_route(gateway, table))));
  }
  for (const Family family : request.device_routes) {
    routes_.push_back(SHUNT_TRY(PolicyRoute::create({.family = family,
                                                     .destination = Address::any(family),
                                                     .table = table,
                                                     .interface = request.sockets.interface})));
  }
  return {};
}

Result<void> RouteRules::add_rules(const RouteRequest& request) {
  const Allotment& allotment = instance_->allotment();
  const std::uint32_t table = request.table != 0 ? request.table : allotment.route_table;
  const std::uint32_t priority = allotment.first_priority + Allotment::kTablePriority;
  std::vector<RuleSpec> wanted;
  if (mark_ != 0) {
    wanted = rules_for(mark_, table, priority);
  } else {
    TableMarks marks(allotment.table_mask);
    const std::array tables{table};
    SHUNT_CHECK(marks.assign(tables));
    mark_ = marks.of(table);
    mask_ = allotment.table_mask;
    wanted = marks.rules(tables, std::array{Family::ipv4, Family::ipv6}, priority);
  }
  for (const RuleSpec& rule : wanted) rules_.push_back(SHUNT_TRY(PolicyRule::create(rule)));
  return {};
}

Result<void> RouteRules::mark_traffic(MarkedTraffic traffic) {
  traffic.mark = mark_;
  traffic.mask = mask_;
  return table_->replace(marking_ruleset(traffic));
}

void RouteRules::mark_no_more() {
  if (table_) (void)table_->replace("");
}

std::string RouteRules::table_name() const { return table_ ? table_->name() : std::string(); }

RuleGuard::Guarded RouteRules::guarded() const {
  RuleGuard::Guarded out;
  for (const PolicyRoute& route : routes_) out.routes.push_back(route.spec());
  for (const PolicyRule& rule : rules_) out.rules.push_back(rule.spec());
  return out;
}

}  // namespace shunt::cli
