// SPDX-License-Identifier: GPL-2.0-only
#include "capture/notrack.h"

#include <fmt/format.h>

#include <array>
#include <fstream>

#include "base/error_numbers.h"
#include "kernel/nft.h"

namespace shunt {
namespace {

Failure refused(std::string why,
                std::string fix = "leave notrack away: captured connections are tracked then") {
  return Failure(make_error(Kind::conflict, error_number::kNoNotrack,
                            fmt::format("notrack cannot be had here: {}", std::move(why)),
                            std::move(fix)));
}

std::string_view trimmed(std::string_view line) {
  const auto first = line.find_first_not_of(" \t");
  return first == std::string_view::npos ? std::string_view() : line.substr(first);
}

/// Of a rule or the head of a chain. iptables-nft shows as `xt match "conntrack"`.
bool is_about_tracking(std::string_view line) {
  constexpr auto kSigns = std::to_array<std::string_view>(
      {"ct ", "xt match \"conntrack\"", "xt match \"state\"", "xt match \"connmark\"",
       "xt target \"CONNMARK\"", "dnat ", "redirect", "type nat hook prerouting",
       "type nat hook output"});
  for (const std::string_view sign : kSigns) {
    const auto at = line.find(sign);
    if (at == std::string_view::npos) continue;
    if (at == 0 || line[at - 1] == ' ') return true;
  }
  return false;
}

/// Their rules cannot be read as text.
std::string legacy_table() {
  for (const char* path :
       {"/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"}) {
    std::ifstream names(path);
    std::string name;
    if (std::getline(names, name)) return name;
  }
  return {};
}

}  // namespace

std::optional<NotrackConflict> notrack_conflict(const GatewayOptions& options) {
  if (options.connect != ConnectMode::early) {
    return NotrackConflict{.message =
                               "notrack needs connect = early: who waits for his server is "
                               "known by the connection's mark",
                           .fix_in_file = "connect = \"early\", or leave notrack away",
                           .fix_in_flags = "shunt gateway --notrack --connect early …"};
  }
  if (options.closed) {
    return NotrackConflict{.message =
                               "notrack and on-exit = closed exclude each other: what "
                               "blocks knows captured connections by their mark",
                           .fix_in_file = "on-exit = \"open\", or leave notrack away",
                           .fix_in_flags =
                               "shunt gateway --notrack --connect early …, without "
                               "--on-exit closed"};
  }
  if (options.leaving.keep_source) {
    return NotrackConflict{.message =
                               "notrack and keep-source exclude each other: servers' "
                               "answers are known by the connection's mark",
                           .fix_in_file = "leave notrack away, or the keep-source of the ways out",
                           .fix_in_flags = "shunt gateway …, without --notrack"};
  }
  return std::nullopt;
}

std::optional<std::string> table_that_tracks(std::string_view ruleset) {
  std::string_view table;
  while (!ruleset.empty()) {
    const auto end = ruleset.find('\n');
    const std::string_view line = trimmed(ruleset.substr(0, end));
    ruleset.remove_prefix(end == std::string_view::npos ? ruleset.size() : end + 1);
    if (line.starts_with("table ")) {
      table = line.substr(0, line.find(" {"));
    } else if (!table.contains(" shunt-") && is_about_tracking(line)) {
      return fmt::format("{} ({})", table, line);
    }
  }
  return std::nullopt;
}

Result<void> check_notrack(const GatewayOptions& options, CaptureMethod method) {
  if (!options.notrack) return {};
  if (const auto conflict = notrack_conflict(options)) {
    return refused(conflict->message, conflict->fix_in_file);
  }
  if (method != CaptureMethod::tproxy) return refused("REDIRECT is a translation, and tracked");
  if (const std::string name = legacy_table(); !name.empty()) {
    return refused(fmt::format(
        "the legacy iptables table {} is loaded, whose rules may look at connection tracking",
        name));
  }
  auto context = SHUNT_TRY(NftContext::create());
  const auto table = table_that_tracks(SHUNT_TRY(context.run("list ruleset")));
  if (!table) return {};
  return refused(fmt::format(
      "{} looks at connection tracking, and would not know captured connections", *table));
}

}  // namespace shunt
