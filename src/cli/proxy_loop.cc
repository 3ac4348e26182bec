// SPDX-License-Identifier: GPL-2.0-only
#include "cli/proxy_loop.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/netlink.h>
#include <pwd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <ranges>
#include <string_view>
#include <vector>

#include "base/escape.h"
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

bool is_let_out(uid_t user, const std::vector<Exclusion>& exclusions) {
  return std::ranges::any_of(exclusions, [user](const Exclusion& exclusion) {
    return std::ranges::any_of(exclusion.users, [user](const auto& range) {
      return range.low <= user && user <= range.high;
    });
  });
}

std::string named(uid_t user) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> text{};
  ::getpwuid_r(user, &entry, text.data(), text.size(), &found);
  return found == nullptr ? fmt::format("user {}", user)
                          : fmt::format("user {} ({})", user, escaped(found->pw_name));
}

/// What is excluded, or sent direct by a rule that no other stands before.
std::vector<Exclusion> left_alone(const GatewayOptions& capture) {
  std::vector<Exclusion> out = capture.exclusions;
  for (const KernelDecision& rule : capture.kernel_rules) {
    if (!rule.leave) break;
    out.push_back(rule.match);
  }
  return out;
}

}  // namespace

std::optional<std::string> proxy_loop_warning(const WayOut& way_out, const GatewayOptions& capture,
                                              Wording wording) {
  if (!capture.host) return std::nullopt;
  const auto proxies = way_out.proxies();
  const auto here = std::ranges::find_if(
      proxies, [](const Endpoint& proxy) { return is_this_machines(proxy.address); });
  if (here == proxies.end()) return std::nullopt;
  const std::vector<uid_t> users = users_behind(*here);
  const std::vector<Exclusion> exclusions = left_alone(capture);
  const bool let_out =
      std::ranges::all_of(users, [&](uid_t user) { return is_let_out(user, exclusions); });
  if (!users.empty() && let_out) return std::nullopt;
  const bool some_user_is_let_out = std::ranges::any_of(
      exclusions, [](const Exclusion& exclusion) { return !exclusion.users.empty(); });
  if (users.empty() && some_user_is_let_out) return std::nullopt;  // presumably that one

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
