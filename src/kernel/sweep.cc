// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/sweep.h"

#include <fmt/format.h>
#include <linux/netfilter.h>
#include <unistd.h>

#include <algorithm>

#include "kernel/capabilities.h"
#include "kernel/nft.h"
#include "kernel/policy_route.h"
#include "kernel/state_lock.h"
#include "kernel/sysctl.h"

namespace shunt {
namespace {

constexpr std::string_view kTablePrefix = "shunt-";
constexpr std::string_view kClosedSuffix = "-closed";

const LiveInstance* owner_of(const Records& records, const RuleSpec& rule) {
  const auto found = std::ranges::find_if(
      records.live, [&](const LiveInstance& instance) { return uses_rule(instance, rule); });
  return found == records.live.end() ? nullptr : &*found;
}

const LiveInstance* owner_of_table(const Records& records, std::uint32_t route_table) {
  for (const auto& instance : records.live) {
    if (instance.allotment.route_table == route_table) return &instance;
  }
  return nullptr;
}

std::string whose(const LiveInstance& instance) {
  return fmt::format("in use by pid {} ({})", instance.pid, instance.command);
}

/// Somebody lives whose record is elsewhere (another user, another SHUNT_RUN_DIR): a table of
/// shunt's name that a live socket owns and no record claims.
bool somebody_lives_unseen(const Records& records, const std::vector<NftTableInfo>& tables) {
  return std::ranges::any_of(tables, [&](const NftTableInfo& table) {
    if (!table.has_owner || !table.name.starts_with(kTablePrefix)) return false;
    return std::ranges::none_of(records.live, [&](const LiveInstance& instance) {
      return instance.allotment.table_name == table.name;
    });
  });
}

/// Through "lo", where the capture of a dead instance has no TUN device, or of `shunt route`, whose
/// routes alone have a gateway: what leads to them is a mark that nobody bears any more.
bool is_inert(const RouteSpec& route) {
  return route.protocol == kRouteProtocol && (route.interface == "lo" || route.gateway);
}

/// A route of shunt's own through a device that somebody holds.
bool is_in_force(const RouteSpec& route) {
  return route.protocol == kRouteProtocol && !is_inert(route);
}

/// What serves nobody although its table may not be empty.
Result<bool> is_dead(const RuleSpec& rule, const Records& records, bool unseen) {
  if (rule.protocol != kRouteProtocol || records.unreadable != 0) return false;
  if (owner_of(records, rule) != nullptr) return false;
  if (rule.action != RuleAction::lookup) return !unseen;
  const auto routes = SHUNT_TRY(list_routes(rule.family, rule.table));
  if (std::ranges::any_of(routes, is_in_force)) return false;
  const bool of_capture = !rule.in_interface.empty();
  return !unseen || (of_capture && routes.empty());
}

/// Without CAP_NET_ADMIN the tables cannot be seen; then nothing can be removed either.
std::vector<NftTableInfo> tables_if_visible() {
  if (!has_capability(CAP_NET_ADMIN)) return {};
  return list_nft_tables().value_or(std::vector<NftTableInfo>{});
}

void remove_rule(const RuleSpec& rule, SweepReport& report) {
  if (auto deleted = delete_rule(rule); !deleted) {
    report.problems.push_back(deleted.error().text());
    return;
  }
  report.removed.push_back(rule.text());
}

/// Routes that a killed instance left, with or without their rule.
Result<void> sweep_inert_routes(const Records& records, SweepReport& report) {
  for (const Family family : {Family::ipv4, Family::ipv6}) {
    for (const auto& route : SHUNT_TRY(list_routes(family, 0, kRouteProtocol))) {
      if (!is_inert(route) || owner_of_table(records, route.table) != nullptr) continue;
      if (auto deleted = delete_route(route); !deleted) {
        report.problems.push_back(deleted.error().text());
      } else {
        report.removed.push_back(route.text());
      }
    }
  }
  return {};
}

struct ClosedTable {
  std::string name;
  std::string lives;  ///< how its owner is known to live; "": it is dead
};

Result<std::vector<ClosedTable>> closed_tables(const Records& records) {
  const auto tables = SHUNT_TRY(list_nft_tables());
  const auto lives = [&](std::string_view owner_name) {
    return std::ranges::any_of(tables, [&](const NftTableInfo& table) {
      return table.has_owner && table.name == owner_name;
    });
  };
  std::vector<ClosedTable> found;
  for (const auto& table : tables) {
    if (table.family != NFPROTO_INET || table.has_owner) continue;
    if (!table.name.starts_with(kTablePrefix) || !table.name.ends_with(kClosedSuffix)) continue;
    const auto owner = table.name.substr(0, table.name.size() - kClosedSuffix.size());
    const auto recorded = std::ranges::find_if(records.live, [&](const LiveInstance& instance) {
      return instance.allotment.closed_table_name == table.name;
    });
    ClosedTable closed{.name = table.name, .lives = ""};
    if (recorded != records.live.end()) {
      closed.lives = whose(*recorded);
    } else if (records.unreadable != 0 || lives(owner)) {
      closed.lives = "its owner lives";
    }
    found.push_back(std::move(closed));
  }
  return found;
}

void append(std::vector<std::string>& to, std::vector<std::string> from) {
  std::ranges::move(from, std::back_inserter(to));
}

}  // namespace

bool uses_rule(const LiveInstance& instance, const RuleSpec& rule) {
  const Allotment& allotment = instance.allotment;
  if (rule.action == RuleAction::lookup && rule.table == allotment.route_table) return true;
  return rule.priority >= allotment.first_priority &&
         rule.priority - allotment.first_priority < Allotment::kPriorities;
}

bool nobody_lives(const Records& records) {
  return records.nobody_lives() && !somebody_lives_unseen(records, tables_if_visible());
}

Result<std::vector<RuleSpec>> all_rules() {
  auto rules = SHUNT_TRY(list_rules(Family::ipv4));
  auto ipv6 = SHUNT_TRY(list_rules(Family::ipv6));
  std::ranges::move(ipv6, std::back_inserter(rules));
  return rules;
}

Result<std::vector<RuleSpec>> dead_rules(const Records& records) {
  const bool unseen = somebody_lives_unseen(records, tables_if_visible());
  std::vector<RuleSpec> dead;
  for (auto& rule : SHUNT_TRY(all_rules())) {
    if (SHUNT_TRY(is_dead(rule, records, unseen))) dead.push_back(std::move(rule));
  }
  return dead;
}

Result<SweepReport> sweep_rules_and_sysctls(const std::string& directory, const Records& records) {
  SweepReport report;
  const bool unseen = somebody_lives_unseen(records, tables_if_visible());
  const auto dead = SHUNT_TRY(dead_rules(records));
  for (const auto& rule : dead) remove_rule(rule, report);
  if (!unseen && records.unreadable == 0) SHUNT_CHECK(sweep_inert_routes(records, report));
  for (const auto& rule : SHUNT_TRY(all_rules())) {
    if (rule.protocol != kRouteProtocol) continue;
    const auto* owner = owner_of(records, rule);
    report.kept.push_back(
        fmt::format("{}: {}", rule.text(), owner ? whose(*owner) : "its table is in use"));
  }
  for (const auto& path : records.dead) remove_record(path);
  if (nobody_lives(records)) {
    auto sysctls = SysctlJournal(directory + "/sysctls").restore();
    append(report.removed, std::move(sysctls.restored));
    append(report.kept, std::move(sysctls.left));
    append(report.problems, std::move(sysctls.failed));
  }
  return report;
}

Result<std::vector<std::string>> dead_closed_tables(const Records& records) {
  std::vector<std::string> dead;
  for (ClosedTable& table : SHUNT_TRY(closed_tables(records))) {
    if (table.lives.empty()) dead.push_back(std::move(table.name));
  }
  return dead;
}

Result<SweepReport> sweep_closed_tables(const Records& records) {
  SweepReport report;
  for (const ClosedTable& table : SHUNT_TRY(closed_tables(records))) {
    const auto text = fmt::format("table inet {}", table.name);
    if (!table.lives.empty()) {
      report.kept.push_back(fmt::format("{}: {}", text, table.lives));
    } else if (auto deleted = delete_nft_table(table.name); !deleted) {
      report.problems.push_back(fmt::format("{}: {}", text, deleted.error().text()));
    } else {
      report.removed.push_back(text);
    }
  }
  return report;
}

Result<SweepReport> sweep() {
  SHUNT_CHECK(require_capability(CAP_NET_ADMIN, "removing what a killed shunt left"));
  const auto run = SHUNT_TRY(run_directory());
  const auto lock = SHUNT_TRY(StateLock::take(run));
  const auto directory = SHUNT_TRY(namespace_directory(run));
  const auto records = read_records(directory);
  auto report = SHUNT_TRY(sweep_rules_and_sysctls(directory, records));
  auto tables = SHUNT_TRY(sweep_closed_tables(records));
  append(report.removed, std::move(tables.removed));
  append(report.kept, std::move(tables.kept));
  append(report.problems, std::move(tables.problems));
  tidy_run_directory(run);
  return report;
}

}  // namespace shunt
