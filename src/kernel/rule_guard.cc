// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/rule_guard.h"

#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>

namespace shunt {
namespace {

constexpr std::chrono::minutes kContestWindow{1};

Result<void> watch(int poll, int fd) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  if (::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) == 0) return {};
  return Failure(errno_error("watch the kernel's routing events"));
}

std::uint32_t table_of(const nlattr* attribute, std::uint32_t header) {
  return attribute == nullptr ? header : mnl_attr_get_u32(attribute);
}

bool is_same_route(const RouteSpec& wanted, RouteSpec listed) {
  if (wanted.metric == 0) listed.metric = 0;  // the kernel chose one: 1024 for IPv6
  return wanted == listed;
}

}  // namespace

RuleGuard::RuleGuard(Guarded guarded, NetlinkSocket events, UniqueFd timer, UniqueFd poll)
    : guarded_(std::move(guarded)),
      events_(std::move(events)),
      timer_(std::move(timer)),
      poll_(std::move(poll)) {}

Result<RuleGuard> RuleGuard::create(Guarded guarded) {
  auto events = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  for (const unsigned group : {RTNLGRP_LINK, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE,
                               RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE}) {
    SHUNT_CHECK(events.join(group));
  }
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  UniqueFd poll(::epoll_create1(EPOLL_CLOEXEC));
  if (!timer.valid() || !poll.valid()) return Failure(errno_error("make a rule guard"));
  SHUNT_CHECK(watch(poll.get(), events.fd()));
  SHUNT_CHECK(watch(poll.get(), timer.get()));
  RuleGuard guard(std::move(guarded), std::move(events), std::move(timer), std::move(poll));
  guard.schedule();  // what was deleted before the guard listened
  return guard;
}

bool RuleGuard::concerns_us(const nlmsghdr& message) const {
  // Rules may lead to tables of the user's, whose routes are nothing to us.
  const auto is_ours = [this](std::uint32_t table) {
    return std::ranges::any_of(guarded_.routes,
                               [=](const auto& route) { return route.table == table; });
  };
  const void* payload = mnl_nlmsg_get_payload(&message);
  switch (message.nlmsg_type) {
    case RTM_DELRULE: {
      const auto found = netlink_attributes<FRA_PROTOCOL + 1, fib_rule_hdr>(message);
      return found[FRA_PROTOCOL] != nullptr &&
             mnl_attr_get_u8(found[FRA_PROTOCOL]) == kRouteProtocol;
    }
    case RTM_NEWROUTE:  // a replacement
    case RTM_DELROUTE: {
      const auto found = netlink_attributes<RTA_TABLE + 1, rtmsg>(message);
      return is_ours(table_of(found[RTA_TABLE], static_cast<const rtmsg*>(payload)->rtm_table));
    }
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      // A device that goes down takes its routes along without a word about each.
      const auto found = netlink_attributes<IFLA_IFNAME + 1, ifinfomsg>(message);
      return guarded_.tun != nullptr && found[IFLA_IFNAME] != nullptr &&
             guarded_.tun->name() == mnl_attr_get_str(found[IFLA_IFNAME]);
    }
    default: return false;
  }
}

void RuleGuard::replace(Guarded guarded) {
  guarded_ = std::move(guarded);
  schedule();  // what was deleted between its making and now
}

void RuleGuard::handle() {
  bool check = false;
  const auto complete =
      events_.receive([&](const nlmsghdr& message) { check = check || concerns_us(message); });
  // Lost events (a routing daemon loads a full table) may have been about us.
  if (!complete || !*complete || check) schedule();
  std::uint64_t expirations = 0;
  if (::read(timer_.get(), &expirations, sizeof expirations) != sizeof expirations) return;
  scheduled_ = false;
  if (auto restored = restore_missing(); !restored) {
    log_->warn(fmt::format("cannot put back what was deleted: {}", restored.error().text()));
    recent_ = kContestedAfter;  // try again, slowly
    schedule();
  }
}

void RuleGuard::schedule() {
  if (scheduled_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - window_start_ > kContestWindow) {
    window_start_ = now;
    recent_ = 0;
  }
  const std::uint32_t delay_ms = recent_ < kContestedAfter ? kCheckDelayMs : kContestedDelayMs;
  itimerspec when{};
  when.it_value.tv_sec = delay_ms / 1000;
  when.it_value.tv_nsec = static_cast<long>(delay_ms % 1000) * 1'000'000;
  scheduled_ = ::timerfd_settime(timer_.get(), 0, &when, nullptr) == 0;
}

Result<void> RuleGuard::restore_missing() {
  if (guarded_.tun != nullptr && SHUNT_TRY(guarded_.tun->restore())) {
    note_restored(fmt::format("device {}", guarded_.tun->name()));
  }
  SHUNT_CHECK(restore_routes());  // before the rules: policy_route.h
  return restore_rules();
}

Result<void> RuleGuard::restore_routes() {
  for (const RouteSpec& wanted : guarded_.routes) {
    const auto there = SHUNT_TRY(list_routes(wanted.family, wanted.table));
    if (std::ranges::any_of(there,
                            [&](const auto& route) { return is_same_route(wanted, route); })) {
      continue;
    }
    SHUNT_CHECK(add_route(wanted));
    note_restored(wanted.text());
  }
  return {};
}

Result<void> RuleGuard::restore_rules() {
  for (const RuleSpec& wanted : guarded_.rules) {
    const auto there = SHUNT_TRY(list_rules(wanted.family));
    if (std::ranges::find(there, wanted) != there.end()) continue;
    auto added = add_rule(wanted);
    if (!added && added.error().os_error != EEXIST) return added;
    note_restored(wanted.text());
  }
  return {};
}

void RuleGuard::note_restored(std::string_view what) {
  ++restored_;
  ++recent_;
  log_->warn(fmt::format("another program deleted it, put back: {}", what));
}

}  // namespace shunt
