// SPDX-License-Identifier: GPL-2.0-only
// Several ways out under one name. For each flow the members are put into an order (GroupKind), and
// tried in it until one connects: no byte of the client has been sent by then, so nothing is sent
// twice. What a destination itself answers (a refused connection) is an answer, and ends the
// search.
//
// A member that fails kFailuresToEject times in a row is left out for kFirstEjectionMs, each time
// twice as long up to kLongestEjectionMs; the flow after that tries it again, and one success
// clears it. That is so for each address family by itself: an uplink without IPv6 fails every IPv6
// flow at once, and carries IPv4 as well as ever. A member that a check found dead is left out
// until a check finds it alive. Members that are left out are tried behind all others: a group
// never refuses what one of its members could carry.
//
// The state is one block of atomics for each member, shared by all workers without a lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "egress/way_out.h"

namespace shunt {

enum class GroupKind : std::uint8_t {
  failover,       ///< in the order given
  round_robin,    ///< each flow begins with the next
  least_latency,  ///< the quickest to connect first; before it those not tried yet, behind it
                  ///< those that have only failed
  hash_client,    ///< the same client takes the same member (rendezvous hashing)
};

/// How members are looked at when no flow does; see egress/health_checker.h.
struct CheckSpec {
  /// "": the member's own proxy is greeted, with its password where there is one, and no other host
  /// is asked for anything. "tcp://192.0.2.1:443" is connected to through the member;
  /// "http://192.0.2.1/alive" is asked for by GET. The host may be a name, which is resolved when
  /// the checks start.
  std::string target;
  int lowest_status = 200;  ///< http: what counts as alive
  int highest_status = 399;
  std::uint32_t interval_ms = 10'000;
  std::uint32_t timeout_ms = 5'000;
};

struct MemberStatus {
  std::string_view name;
  bool usable = true;                   ///< neither found dead nor ejected for any family
  bool found_dead = false;              ///< by the last check
  std::uint32_t failures_in_a_row = 0;  ///< of flows of one family: the higher count
  std::uint32_t latency_us = 0;         ///< moving average of connect(); 0: not measured
  std::uint64_t flows = 0;              ///< carried
};

class Group : public WayOut {
 public:
  static constexpr std::uint32_t kFailuresToEject = 3;
  static constexpr std::uint32_t kFirstEjectionMs = 10'000;
  static constexpr std::uint32_t kLongestEjectionMs = 300'000;
  static constexpr std::size_t kMostMembers = 64;

  struct Member {
    std::string name;
    std::shared_ptr<const WayOut> way_out;
  };

  /// 1 to kMostMembers members. Without a name it is the `else` of a rule: nothing is held against
  /// its members, each flow tries them in their order, and the log shows the one that carries it as
  /// if it had been chosen alone.
  static std::shared_ptr<const Group> create(std::string name, GroupKind kind,
                                             std::vector<Member> members,
                                             std::optional<CheckSpec> check = {});

  std::string_view name() const override {
    return name_.empty() ? std::string_view(states_.front()->shown) : name_;
  }
  bool wants_name() const override { return wants_name_; }
  bool carries_udp() const override { return carries_udp_; }
  bool reaches_relays() const override { return reaches_relays_; }
  ConnectMode connect_mode() const override { return connect_mode_; }
  std::span<const Endpoint> proxies() const override { return proxies_; }
  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                        const Hints& hints) const override;
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& loop,
                                                             const Flow& flow) const override;
  /// All that carry UDP do.
  bool maps_clients() const override { return maps_clients_; }
  Task<std::expected<UdpUpstream, ConnectFailure>> open_mapping(EventLoop& loop,
                                                                const Flow& flow) const override;
  /// Its member is neither dead nor left out.
  bool still_maps(const UdpUpstream& mapping, Family family) const override;
  /// Succeeds with the first member that does.
  Task<std::expected<void, ConnectFailure>> greet(EventLoop& loop,
                                                  Clock::time_point by) const override;
  Task<std::expected<Upstream, ConnectFailure>> connect_to_name(EventLoop& loop, const Flow& flow,
                                                                const Hints& hints) const override;
  Task<std::expected<UdpUpstream, ConnectFailure>> associate_to_name(
      EventLoop& loop, const Flow& flow, const Hints& hints) const override;

  /// Any thread.
  [[nodiscard]] std::vector<MemberStatus> status() const;

  // For HealthChecker.
  [[nodiscard]] const std::optional<CheckSpec>& check() const { return check_; }
  [[nodiscard]] std::size_t size() const { return states_.size(); }
  [[nodiscard]] const WayOut& member(std::size_t index) const { return *states_[index]->way_out; }
  /// `took_us`: how long the check took to connect; empty: the member was found dead. Any thread.
  /// True when it is news.
  bool report_check(std::size_t index, std::optional<std::uint32_t> took_us) const;

 private:
  /// What the flows to one address family met.
  struct Standing {
    std::atomic<std::uint32_t> failures = 0;
    std::atomic<std::uint32_t> ejections = 0;        ///< since the last success
    std::atomic<std::int64_t> ejected_until_ms = 0;  ///< Clock
    std::atomic<std::int64_t> succeeded_ms = 0;      ///< when the last success was known; Clock
  };
  struct State {
    std::string name;
    std::string shown;  ///< "eu (paris)", or in a group without a name "paris"
    std::shared_ptr<const WayOut> way_out;
    std::array<Standing, 2> standings;  ///< by Family
    std::atomic<std::uint32_t> latency_us = 0;
    std::atomic<bool> tried = false;  ///< by a flow that it did not carry
    std::atomic<std::uint64_t> flows = 0;
    std::atomic<bool> dead = false;

    [[nodiscard]] bool usable(Family family, std::int64_t now_ms) const;
    void measured(std::uint32_t took_us);
    [[nodiscard]] std::uint64_t expected_us() const;
    void succeeded(Family family, std::uint32_t took_us);
    /// An attempt begun at `start_ms` failed.
    void failed(Family family, std::int64_t start_ms);
  };
  using Order = std::vector<State*>;

  Group(std::string name, GroupKind kind, std::optional<CheckSpec> check);
  [[nodiscard]] bool holds_failures() const { return !name_.empty(); }
  [[nodiscard]] Order order(const Flow& flow, bool datagrams) const;
  void sort(Order& order, const Flow& flow, std::uint32_t turn) const;
  bool goes_on_after(State& state, const Flow& flow, Clock::time_point start,
                     const ConnectFailure& failure) const;
  /// What the log shows of a flow that `state` carries; `inner` is what its way out says itself.
  [[nodiscard]] std::string_view shown(const State& state, std::string_view inner) const {
    return name_.empty() && !inner.empty() ? inner : std::string_view(state.shown);
  }
  template <class Key>
  static void rank(Order& order, Key key);

  std::string name_;
  GroupKind kind_;
  std::optional<CheckSpec> check_;
  std::vector<std::unique_ptr<State>> states_;
  bool wants_name_ = false;
  bool carries_udp_ = false;
  bool maps_clients_ = true;
  bool reaches_relays_ = true;
  ConnectMode connect_mode_ = ConnectMode::automatic;  // early as soon as one of them is
  std::vector<Endpoint> proxies_;                      // of all members
  mutable std::atomic<std::uint32_t> next_ = 0;
};

}  // namespace shunt
