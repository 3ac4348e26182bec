// SPDX-License-Identifier: GPL-2.0-only
#include "capture/lan_interfaces.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/error_numbers.h"
#include "base/result.h"
#include "base/suggest.h"
#include "kernel/policy_route.h"

namespace shunt {
namespace {

bool holds(const std::vector<LanInterface>& chosen, std::string_view name) {
  return std::ranges::any_of(chosen, [&](const LanInterface& lan) { return lan.name == name; });
}

Error no_such_interface(const std::string& name, const std::vector<Link>& links) {
  std::vector<std::string_view> names;
  for (const Link& link : links) {
    if (!link.loopback) names.push_back(link.name);
  }
  const auto meant = closest_word(name, names);
  std::string help = fmt::format("there are: {}", fmt::join(names, ", "));
  if (names.empty()) help = "there is none but loopback";
  if (!meant.empty()) help = fmt::format("did you mean \"{}\"?", meant);
  return make_error(Kind::configuration, error_number::kNoSuchInterface,
                    fmt::format("no interface \"{}\" here", name), std::move(help));
}

using Chosen = std::expected<std::vector<LanInterface>, LanMistake>;

Result<void> check_name(const std::string& name, const std::vector<Link>& links) {
  const auto link = std::ranges::find(links, name, &Link::name);
  if (link == links.end()) return Failure(no_such_interface(name, links));
  if (!link->loopback) return {};
  return Failure(
      make_error(Kind::usage, error_number::kNoSuchInterface,
                 fmt::format("nothing is forwarded from {}", name),
                 "this machine's connections to itself are captured by `loopback` with `host`"));
}

Chosen check_named(const std::vector<std::string>& named) {
  const auto links = list_links();
  if (!links) return std::unexpected(LanMistake{.error = links.error()});
  std::vector<LanInterface> chosen;
  for (const std::string& name : named) {
    if (auto checked = check_name(name, *links); !checked) {
      return std::unexpected(LanMistake{.error = std::move(checked).error(), .name = name});
    }
    if (!holds(chosen, name)) chosen.push_back({.name = name, .why = "named"});
  }
  return chosen;
}

Result<std::vector<LanInterface>> look_for_lan() {
  const auto addresses = SHUNT_TRY(list_addresses());
  return default_lan_interfaces(addresses, SHUNT_TRY(default_route_interfaces()));
}

}  // namespace

std::vector<LanInterface> default_lan_interfaces(const std::vector<InterfaceAddress>& addresses,
                                                 const std::vector<std::string>& default_route) {
  std::vector<LanInterface> chosen;
  for (const InterfaceAddress& entry : addresses) {
    if (entry.interface.empty() || !entry.address.is_private()) continue;
    if (std::ranges::find(default_route, entry.interface) != default_route.end()) continue;
    if (holds(chosen, entry.interface) || entry.interface == "lo") continue;
    chosen.push_back({.name = entry.interface,
                      .why = fmt::format("{}/{}", entry.address.text(), entry.prefix_length)});
  }
  return chosen;
}

Chosen choose_lan_interfaces(const std::vector<std::string>& named) {
  if (!named.empty()) return check_named(named);
  auto found = look_for_lan();
  if (!found) return std::unexpected(LanMistake{.error = std::move(found).error()});
  return *std::move(found);
}

}  // namespace shunt
