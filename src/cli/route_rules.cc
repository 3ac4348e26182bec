// SPDX-License-Identifier: GPL-2.0-only
#include "cli/route_rules.h"

#include <linux/capability.h>

#include <array>

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

Result<RouteRules> RouteRules::create(const RouteRequest& request) {
  RouteRules made;
  made.mark_ = request.sockets.mark;
  if (!request.by_rules()) return made;
  SHUNT_CHECK(require_capability(CAP_NET_ADMIN, "routing a command by a table or a gateway"));
  made.instance_ = SHUNT_TRY(Instance::create("route"));
  made.sign_of_life_ = SHUNT_TRY(NftTable::create(made.instance_->allotment().table_name, ""));
  SHUNT_CHECK(made.add_routes(request));
  SHUNT_CHECK(made.add_rules(request));
  return made;
}

Result<void> RouteRules::add_routes(const RouteRequest& request) {
  for (const Gateway& gateway : request.gateways) {
    const std::uint32_t table = instance_->allotment().route_table;
    routes_.push_back(SHUNT_TRY(PolicyRoute::create(default_route(gateway, table))));
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
    wanted = marks.rules(tables, std::array{Family::ipv4, Family::ipv6}, priority);
  }
  for (const RuleSpec& rule : wanted) rules_.push_back(SHUNT_TRY(PolicyRule::create(rule)));
  return {};
}

}  // namespace shunt::cli
