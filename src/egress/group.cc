// SPDX-License-Identifier: GPL-2.0-only
#include "egress/group.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <tuple>

#include "base/log.h"
#include "egress/dial.h"

namespace shunt {
namespace {

using std::unexpected;

template <class T>
using Expected = std::expected<T, ConnectFailure>;

constexpr auto kRelaxed = std::memory_order_relaxed;

std::int64_t now_ms() { return in_ms(Clock::now()); }

// Whether another member might do better.
bool worth_another(ConnectReason reason) {
  switch (reason) {
    case ConnectReason::refused:
    case ConnectReason::loop:
    case ConnectReason::no_destination:
    case ConnectReason::resources:
    case ConnectReason::cancelled: return false;
    default: return true;
  }
}

// Whether the member may be to blame. A silent destination looks like a dead uplink, so it counts,
// and so does a host that our own kernel finds unreachable, as it does when the next hop answers no
// ARP: any flow that succeeds clears the count. What a proxy says of a host is about the host.
bool held_against_member(const ConnectFailure& failure) {
  switch (failure.reason) {
    case ConnectReason::proxy_error:
    case ConnectReason::reset:
    case ConnectReason::timed_out:
    case ConnectReason::network_unreachable: return true;
    case ConnectReason::host_unreachable: return failure.os_error != 0;
    default: return false;
  }
}

std::size_t index_of(Family family) { return family == Family::ipv4 ? 0 : 1; }

// The finalizer of MurmurHash3: neighbouring clients spread over the members.
std::uint64_t mixed(std::uint64_t value) {
  value ^= value >> 33;
  value *= 0xff51afd7ed558ccdULL;
  value ^= value >> 33;
  value *= 0xc4ceb9fe1a85ec53ULL;
  return value ^ value >> 33;
}

std::uint64_t score(const Flow& flow, std::string_view member) {
  const std::hash<std::string_view> hash;
  return mixed(hash(flow.source.address.bytes()) ^ mixed(hash(member)));
}

Task<Expected<Upstream>> connect_by(const WayOut& member, EventLoop& loop, const Flow& flow,
                                    const Hints& hints) {
  if (hints.resolver != nullptr) return member.connect_to_name(loop, flow, hints);
  return member.connect(loop, flow, hints);
}

Task<Expected<UdpUpstream>> associate_by(const WayOut& member, EventLoop& loop, const Flow& flow,
                                         const Hints& hints) {
  if (hints.resolver != nullptr) return member.associate_to_name(loop, flow, hints);
  return member.associate(loop, flow);
}

}  // namespace

bool Group::State::usable(Family family, std::int64_t now) const {
  const Standing& standing = standings[index_of(family)];
  return !dead.load(kRelaxed) && standing.ejected_until_ms.load(kRelaxed) <= now;
}

void Group::State::succeeded(Family family, std::uint32_t took_us) {
  Standing& standing = standings[index_of(family)];
  standing.failures.store(0, kRelaxed);
  standing.ejections.store(0, kRelaxed);
  standing.ejected_until_ms.store(0, kRelaxed);
  standing.succeeded_ms.store(now_ms(), kRelaxed);
  flows.fetch_add(1, kRelaxed);
  measured(took_us);
}

void Group::State::measured(std::uint32_t took_us) {
  const std::uint32_t before = latency_us.load(kRelaxed);
  latency_us.store(before == 0 ? took_us : before - before / 8 + took_us / 8, kRelaxed);
}

std::uint64_t Group::State::expected_us() const {
  const std::uint32_t average = latency_us.load(kRelaxed);
  if (average != 0) return average;
  return tried.load(kRelaxed) ? std::numeric_limits<std::uint64_t>::max() : 0;
}

// An attempt may last longer than an ejection. One that began before the last success, or before
// the ejection ended, says nothing of the member as it is now.
void Group::State::failed(Family family, std::int64_t start) {
  Standing& standing = standings[index_of(family)];
  std::int64_t until = standing.ejected_until_ms.load(kRelaxed);
  if (start < until || start < standing.succeeded_ms.load(kRelaxed)) return;
  const std::uint32_t failures = standing.failures.fetch_add(1, kRelaxed) + 1;
  if (failures < kFailuresToEject) return;
  const std::uint32_t times = std::min(standing.ejections.load(kRelaxed), 16U);
  const std::uint64_t pause =
      std::min<std::uint64_t>(std::uint64_t{kFirstEjectionMs} << times, kLongestEjectionMs);
  const std::int64_t end = now_ms() + static_cast<std::int64_t>(pause);
  // Another worker's flow may have ended in the same moment: one ejection is one.
  if (!standing.ejected_until_ms.compare_exchange_strong(until, end, kRelaxed)) return;
  standing.ejections.fetch_add(1, kRelaxed);
  log(LogLevel::warning,
      fmt::format("{}: failed {} times in a row, left out for {} s where the destination is {}",
                  shown, failures, pause / 1000, family == Family::ipv4 ? "IPv4" : "IPv6"));
}

namespace {

/// Of members together, one of which is not known before it is tried.
ConnectMode both_modes(bool first, ConnectMode others, ConnectMode one) {
  if (first || others == one) return one;
  const bool early = others == ConnectMode::early || one == ConnectMode::early;
  return early ? ConnectMode::early : ConnectMode::automatic;
}

}  // namespace

Group::Group(std::string name, GroupKind kind, std::optional<CheckSpec> check)
    : name_(std::move(name)), kind_(kind), check_(std::move(check)) {}

std::shared_ptr<const Group> Group::create(std::string name, GroupKind kind,
                                           std::vector<Member> members,
                                           std::optional<CheckSpec> check) {
  std::shared_ptr<Group> group(new Group(std::move(name), kind, std::move(check)));
  for (Member& member : members) {
    auto state = std::make_unique<State>();
    state->shown =
        group->name_.empty() ? member.name : fmt::format("{} ({})", group->name_, member.name);
    state->name = std::move(member.name);
    state->way_out = std::move(member.way_out);
    group->wants_name_ |= state->way_out->wants_name();
    group->carries_udp_ |= state->way_out->carries_udp();
    group->maps_clients_ &= state->way_out->maps_clients() || !state->way_out->carries_udp();
    group->reaches_relays_ &= state->way_out->reaches_relays();
    group->connect_mode_ =
        both_modes(group->states_.empty(), group->connect_mode_, state->way_out->connect_mode());
    const auto proxies = state->way_out->proxies();
    group->proxies_.insert(group->proxies_.end(), proxies.begin(), proxies.end());
    group->states_.push_back(std::move(state));
  }
  return group;
}

// By a snapshot of the keys, which may change meanwhile; equal ones keep their order.
template <class Key>
void Group::rank(Order& order, Key key) {
  std::vector<std::tuple<std::uint64_t, std::size_t, State*>> ranked;
  ranked.reserve(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) ranked.emplace_back(key(order[i]), i, order[i]);
  std::ranges::sort(ranked);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = std::get<State*>(ranked[i]);
}

void Group::sort(Order& order, const Flow& flow, std::uint32_t turn) const {
  switch (kind_) {
    case GroupKind::failover: return;
    case GroupKind::round_robin: {
      if (order.empty()) return;
      const auto first = turn % order.size();
      std::ranges::rotate(order, order.begin() + static_cast<std::ptrdiff_t>(first));
      return;
    }
    case GroupKind::least_latency:
      return rank(order, [](const State* state) { return state->expected_us(); });
    case GroupKind::hash_client:
      return rank(order, [&flow](const State* state) { return ~score(flow, state->name); });
  }
}

// The usable ones in their order, and behind them the others in theirs: sorted by themselves, so
// that the flows of a member that is left out spread over all the rest.
Group::Order Group::order(const Flow& flow, bool datagrams) const {
  const std::int64_t now = now_ms();
  const Family family = flow.original_destination.address.family();
  Order usable;
  Order left_out;
  for (const auto& state : states_) {
    if (datagrams && !state->way_out->carries_udp()) continue;
    (state->usable(family, now) ? usable : left_out).push_back(state.get());
  }
  const std::uint32_t turn = next_.fetch_add(1, kRelaxed);
  sort(usable, flow, turn);
  sort(left_out, flow, turn);
  usable.insert(usable.end(), left_out.begin(), left_out.end());
  return usable;
}

// Whether the next member is to be tried.
bool Group::goes_on_after(State& state, const Flow& flow, Clock::time_point start,
                          const ConnectFailure& failure) const {
  if (holds_failures() && held_against_member(failure)) {
    state.failed(flow.original_destination.address.family(), in_ms(start));
  }
  if (!worth_another(failure.reason) || flow.dial_ms(1) == 0) return false;
  state.tried.store(true, kRelaxed);
  return true;
}

Task<Expected<Upstream>> Group::connect_to_name(EventLoop& loop, const Flow& flow,
                                                const Hints& hints) const {
  return connect(loop, flow, hints);
}

Task<Expected<Upstream>> Group::connect(EventLoop& loop, const Flow& flow,
                                        const Hints& hints) const {
  const Family family = flow.original_destination.address.family();
  ConnectFailure last;
  for (State* state : order(flow, false)) {
    const auto start = Clock::now();
    auto upstream = co_await connect_by(*state->way_out, loop, flow, hints);
    if (upstream) {
      state->succeeded(family, us_since(start));
      upstream->via = shown(*state, upstream->via);
      if (upstream->member == nullptr) upstream->member = state->way_out.get();
      co_return upstream;
    }
    last = std::move(upstream).error();
    last.via = shown(*state, last.via);
    if (!goes_on_after(*state, flow, start, last)) break;
  }
  co_return unexpected(std::move(last));
}

Task<Expected<UdpUpstream>> Group::associate(EventLoop& loop, const Flow& flow) const {
  const Hints unnamed;
  co_return co_await associate_to_name(loop, flow, unnamed);
}

Task<Expected<UdpUpstream>> Group::associate_to_name(EventLoop& loop, const Flow& flow,
                                                     const Hints& hints) const {
  const Family family = flow.original_destination.address.family();
  ConnectFailure last{
      .reason = ConnectReason::unsupported, .os_error = 0, .detail = "no member of it carries UDP"};
  for (State* state : order(flow, true)) {
    const auto start = Clock::now();
    auto upstream = co_await associate_by(*state->way_out, loop, flow, hints);
    if (upstream) {
      // Without a proxy, nothing was heard of anybody yet.
      if (!upstream->controls.empty()) state->succeeded(family, us_since(start));
      upstream->via = shown(*state, upstream->via);
      co_return upstream;
    }
    last = std::move(upstream).error();
    last.via = shown(*state, last.via);
    if (!goes_on_after(*state, flow, start, last)) break;
  }
  co_return unexpected(std::move(last));
}

Task<Expected<UdpUpstream>> Group::open_mapping(EventLoop& loop, const Flow& flow) const {
  const Family family = flow.original_destination.address.family();
  ConnectFailure last{
      .reason = ConnectReason::unsupported, .os_error = 0, .detail = "no member of it carries UDP"};
  for (State* state : order(flow, true)) {
    const auto start = Clock::now();
    auto upstream = co_await state->way_out->open_mapping(loop, flow);
    if (upstream) {
      if (!upstream->controls.empty()) state->succeeded(family, us_since(start));
      upstream->via = shown(*state, upstream->via);
      upstream->member = state->way_out.get();
      co_return upstream;
    }
    last = std::move(upstream).error();
    last.via = shown(*state, last.via);
    if (!goes_on_after(*state, flow, start, last)) break;
  }
  co_return unexpected(std::move(last));
}

// Where every member is left out, the mapping is as good as any.
bool Group::still_maps(const UdpUpstream& mapping, Family family) const {
  const std::int64_t now = now_ms();
  bool another = false;
  for (const auto& state : states_) {
    if (!state->way_out->carries_udp() || !state->usable(family, now)) continue;
    if (state->way_out.get() == mapping.member) return true;
    another = true;
  }
  return !another;
}

Task<Expected<void>> Group::greet(EventLoop& loop, Clock::time_point by) const {
  ConnectFailure last;
  for (const auto& state : states_) {
    auto greeted = co_await state->way_out->greet(loop, by);
    if (greeted) co_return greeted;
    last = std::move(greeted).error();
    if (last.reason == ConnectReason::cancelled) break;
  }
  co_return unexpected(std::move(last));
}

std::vector<MemberStatus> Group::status() const {
  const std::int64_t now = now_ms();
  std::vector<MemberStatus> all;
  all.reserve(states_.size());
  for (const auto& state : states_) {
    all.push_back({.name = state->name,
                   .usable = state->usable(Family::ipv4, now) && state->usable(Family::ipv6, now),
                   .found_dead = state->dead.load(kRelaxed),
                   .failures_in_a_row = std::max(state->standings[0].failures.load(kRelaxed),
                                                 state->standings[1].failures.load(kRelaxed)),
                   .latency_us = state->latency_us.load(kRelaxed),
                   .flows = state->flows.load(kRelaxed)});
  }
  return all;
}

// A check says whether the member lives. What it was left out for, flows that failed through it, is
// for flows to clear.
bool Group::report_check(std::size_t index, std::optional<std::uint32_t> took_us) const {
  State& state = *states_[index];
  if (took_us) state.measured(*took_us);
  return state.dead.exchange(!took_us, kRelaxed) == took_us.has_value();
}

}  // namespace shunt
