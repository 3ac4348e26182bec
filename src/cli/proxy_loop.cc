// SPDX-License-Identifier: GPL-2.0-only
#include "cli/proxy_loop.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/netlink.h>
#include <pwd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <ranges>
#include <string_view>
#include <utility>
#include <vector>

#include "base/escape.h"
#include "capture/selector.h"
#include "kernel/links.h"
#include "kernel/sock_diag.h"
#include "kernel/socket_users.h"

namespace shunt::cli {
namespace {

bool is_this_machines(const Address& address) {
  if (address.is_loopback() || address.is_any()) return true;
  const auto own = list_addresses();
  return own && std::ranges::find(*own, address, &InterfaceAddress::address) != own->end();
}

/// Under which users the program behind a listening port dials; empty where nobody listens yet.
std::vector<uid_t> users_behind(const Endpoint& listener) {
  SockDiag diag(UniqueFd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)));
  const Endpoint anybody{.address = Address::any(listener.address.family())};
  const auto socket = diag.find(Protocol::tcp, listener, anybody);
  if (!socket) return {};
  std::vector<uid_t> users = users_of_socket(socket->inode);
  if (users.empty()) return {socket->uid};
  // A supervisor that stayed root dials nothing: the workers do.
  if (users.size() > 1) std::erase(users, uid_t{0});
  return users;
}

std::string named(uid_t user) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> text{};
  ::getpwuid_r(user, &entry, text.data(), text.size(), &found);
  return found == nullptr ? fmt::format("user {}", user)
                          : fmt::format("user {} ({})", user, escaped(found->pw_name));
}

/// The users that a rule's terms ask for; empty where they do not, or not plainly.
std::vector<NumberRange> users_of(const Rule& rule) {
  std::vector<Term> terms;
  std::ranges::copy_if(rule.terms, std::back_inserter(terms), [](const Term& term) {
    return term.key == TermKey::uid || term.key == TermKey::user;
  });
  if (terms.empty()) return {};
  auto match = exclusion_of(terms, rule.text);
  return match ? std::move(match->users) : std::vector<NumberRange>();
}

bool contains(const std::vector<NumberRange>& ranges, uid_t user) {
  return std::ranges::any_of(
      ranges, [user](const auto& range) { return range.low <= user && user <= range.high; });
}

/// What the verdict carries goes through no proxy.
bool reaches_no_proxy(const Verdict& verdict) {
  return verdict.denies() || std::ranges::all_of(verdict.ways, [](std::uint16_t way) {
           return way == Ruleset::kDirectWay;
         });
}

/// Whether no rule that may match what the user's programs send leads to a proxy, down to the rule
/// that matches all of it. The proxy decides that as well as the kernel: what is captured is sent
/// on directly.
bool is_let_out_by_rules(uid_t user, const Ruleset& rules) {
  for (std::uint32_t number = 1; number <= rules.size(); ++number) {
    const Rule& rule = rules.rule(number);
    const std::vector<NumberRange> users = users_of(rule);
    if (!users.empty() && !contains(users, user)) continue;
    if (!reaches_no_proxy(rules.verdict(number))) return false;
    if (rule.terms.empty() || (rule.terms.size() == 1 && !users.empty())) return true;
  }
  return reaches_no_proxy(rules.verdict(0));
}

bool names_users(const GatewayOptions& capture, const Ruleset& rules) {
  if (std::ranges::any_of(capture.exclusions, [](const auto& it) { return !it.users.empty(); })) {
    return true;
  }
  for (std::uint32_t number = 1; number <= rules.size(); ++number) {
    const bool plain = rules.rule(number).terms.size() == 1;
    const bool out = plain && reaches_no_proxy(rules.verdict(number));
    if (out && !users_of(rules.rule(number)).empty()) return true;
  }
  return false;
}

}  // namespace

std::optional<std::string> proxy_loop_warning(const WayOut& way_out, const GatewayOptions& capture,
                                              const Ruleset& rules, Wording wording) {
  if (!capture.host) return std::nullopt;
  const auto proxies = way_out.proxies();
  const auto here = std::ranges::find_if(
      proxies, [](const Endpoint& proxy) { return is_this_machines(proxy.address); });
  if (here == proxies.end()) return std::nullopt;
  const std::vector<uid_t> users = users_behind(*here);
  const bool let_out = std::ranges::all_of(users, [&](uid_t user) {
    return is_let_out_by_rules(user, rules) ||
           std::ranges::any_of(capture.exclusions,
                               [user](const auto& it) { return contains(it.users, user); });
  });
  if (!users.empty() && let_out) return std::nullopt;
  if (users.empty() && names_users(capture, rules)) return std::nullopt;  // presumably that one

  const bool flags = wording == Wording::flags;
  const std::string who =
      users.empty() ? ""
                    : fmt::format(" as {}", fmt::join(users | std::views::transform(named), ", "));
  const std::string uids = users.empty() ? "N" : fmt::format("{}", fmt::join(users, ","));
  return fmt::format(
      "the proxy{} runs on this machine{}, so {} captures what it sends as well and hands that "
      "back to it, round and round; {}{} lets that user's traffic out (a tunnel that is already "
      "up, such as ssh -D, needs no rule)",
      flags ? "" : fmt::format(" of way out {}", way_out.name()), who, flags ? "--host" : "`host`",
      flags ? fmt::format("--exclude 'uid {}'", uids) : fmt::format("exclude = [\"uid {}\"]", uids),
      users.empty() ? ", N being the user that it runs as," : "");
}

}  // namespace shunt::cli
