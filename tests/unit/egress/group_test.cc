// SPDX-License-Identifier: GPL-2.0-only
#include "egress/group.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <set>

#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

/// Answers as it is told; keeps how often it was asked.
class FakeOut : public WayOut {
 public:
  explicit FakeOut(bool udp = true) : udp_(udp) {}

  std::string_view name() const override { return "fake"; }
  bool wants_name() const override { return false; }
  bool carries_udp() const override { return udp_; }
  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow&,
                                                        const Hints&) const override {
    ++asked;
    const bool first = asked == 1;
    while (first && held) (void)co_await loop.yield();
    if (answer) {
      co_return std::unexpected(
          ConnectFailure{.reason = *answer, .os_error = os_error, .detail = "fake"});
    }
    co_return Upstream{.socket = {}, .reported = {}, .early_data = {}};
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop&,
                                                             const Flow&) const override {
    ++asked;
    if (answer) co_return std::unexpected(ConnectFailure{.reason = *answer, .detail = "fake"});
    co_return UdpUpstream{};
  }

  bool maps_clients() const override { return udp_; }
  Task<std::expected<UdpUpstream, ConnectFailure>> open_mapping(EventLoop& loop,
                                                                const Flow& flow) const override {
    return associate(loop, flow);
  }

  std::optional<ConnectReason> answer;
  int os_error = 0;  ///< of the answer, from our own kernel
  mutable int asked = 0;
  bool held = false;  ///< the first answer waits for as long

 private:
  bool udp_;
};

struct Trio {
  std::shared_ptr<FakeOut> a = std::make_shared<FakeOut>();
  std::shared_ptr<FakeOut> b = std::make_shared<FakeOut>();
  std::shared_ptr<FakeOut> c = std::make_shared<FakeOut>(false);
  std::shared_ptr<const Group> group;
  Stage stage;

  explicit Trio(GroupKind kind)
      : group(Group::create("eu", kind, {{"paris", a}, {"rome", b}, {"oslo", c}})) {}

  /// Who carried it: "eu (paris)", or the reason why nobody did.
  std::string carry(const char* client = "192.0.2.10", const char* to = "192.0.2.7:80") {
    Flow flow = flow_to(*Endpoint::parse(to));
    flow.source.address = *Address::parse(client);
    const auto upstream = stage.run(group->connect(stage.loop(), flow, {}));
    return std::string(upstream ? upstream->via : reason_text(upstream.error().reason));
  }
};

TEST(Group, failover_takes_the_first_that_connects) {
  Trio trio(GroupKind::failover);
  EXPECT_EQ(trio.carry(), "eu (paris)");
  trio.a->answer = ConnectReason::proxy_error;
  EXPECT_EQ(trio.carry(), "eu (rome)");
  trio.a->answer.reset();
  EXPECT_EQ(trio.carry(), "eu (paris)");
}

TEST(Group, what_the_destination_answers_is_the_answer) {
  Trio trio(GroupKind::failover);
  trio.a->answer = ConnectReason::refused;
  EXPECT_EQ(trio.carry(), "refused");
  EXPECT_EQ(trio.b->asked, 0);
  EXPECT_EQ(trio.group->status()[0].failures_in_a_row, 0U);
}

TEST(Group, a_failure_names_who_was_tried_last) {
  Trio trio(GroupKind::failover);
  for (const auto& member : {trio.a, trio.b, trio.c}) member->answer = ConnectReason::timed_out;
  const Flow flow = flow_to(*Endpoint::parse("192.0.2.7:80"));
  const auto nobody = trio.stage.run(trio.group->connect(trio.stage.loop(), flow, {}));
  ASSERT_FALSE(nobody.has_value());
  EXPECT_EQ(nobody.error().via, "eu (oslo)");
  const auto datagrams = trio.stage.run(trio.group->associate(trio.stage.loop(), flow));
  ASSERT_FALSE(datagrams.has_value());
  EXPECT_EQ(datagrams.error().via, "eu (rome)");  // the third carries none
}

TEST(Group, a_stop_ends_the_search) {
  Trio trio(GroupKind::failover);
  trio.a->answer = ConnectReason::cancelled;
  EXPECT_EQ(trio.carry(), "cancelled");
  EXPECT_EQ(trio.b->asked, 0);
}

TEST(Group, a_member_that_keeps_failing_is_left_out) {
  Trio trio(GroupKind::failover);
  trio.a->answer = ConnectReason::timed_out;
  for (std::uint32_t i = 0; i < Group::kFailuresToEject + 4; ++i) {
    EXPECT_EQ(trio.carry(), "eu (rome)");
  }
  EXPECT_EQ(trio.a->asked, static_cast<int>(Group::kFailuresToEject));
  EXPECT_FALSE(trio.group->status()[0].usable);
  EXPECT_TRUE(trio.group->status()[1].usable);
}

TEST(Group, a_member_without_ipv6_goes_on_carrying_ipv4) {
  Trio trio(GroupKind::failover);
  const auto carry_v6 = [&trio] { return trio.carry("2001:db8::10", "[2001:db8::7]:80"); };
  trio.a->answer = ConnectReason::network_unreachable;
  for (std::uint32_t i = 0; i < Group::kFailuresToEject + 4; ++i) {
    EXPECT_EQ(carry_v6(), "eu (rome)");
  }
  EXPECT_EQ(trio.a->asked, static_cast<int>(Group::kFailuresToEject));
  trio.a->answer.reset();
  EXPECT_EQ(trio.carry(), "eu (paris)");
  EXPECT_EQ(carry_v6(), "eu (rome)");  // IPv4 says nothing of IPv6
}

TEST(Group, a_next_hop_that_nobody_answers_for_is_left_out) {
  Trio trio(GroupKind::failover);
  trio.a->answer = ConnectReason::host_unreachable;
  for (std::uint32_t i = 0; i < Group::kFailuresToEject + 4; ++i) (void)trio.carry();
  EXPECT_TRUE(trio.group->status()[0].usable);  // a proxy may say that of any host
  trio.a->os_error = EHOSTUNREACH;
  for (std::uint32_t i = 0; i < Group::kFailuresToEject; ++i) (void)trio.carry();
  EXPECT_FALSE(trio.group->status()[0].usable);
}

TEST(Group, one_success_clears_the_failures) {
  Trio trio(GroupKind::failover);
  for (int round = 0; round < 3; ++round) {
    trio.a->answer = ConnectReason::timed_out;
    for (std::uint32_t i = 0; i + 1 < Group::kFailuresToEject; ++i) (void)trio.carry();
    trio.a->answer.reset();
    EXPECT_EQ(trio.carry(), "eu (paris)");
  }
}

TEST(Group, when_all_are_left_out_all_are_tried) {
  Trio trio(GroupKind::failover);
  for (const auto& member : {trio.a, trio.b, trio.c}) member->answer = ConnectReason::proxy_error;
  for (std::uint32_t i = 0; i < Group::kFailuresToEject; ++i) {
    EXPECT_EQ(trio.carry(), "proxy error");
  }
  trio.b->answer.reset();
  EXPECT_EQ(trio.carry(), "eu (rome)");
  EXPECT_EQ(trio.carry(), "eu (rome)");
  EXPECT_EQ(trio.a->asked, static_cast<int>(Group::kFailuresToEject) + 1);
}

Task<> become_well(const Group& group, FakeOut& member, EventLoop& loop, const Flow& flow) {
  const auto begun = Clock::now();
  while (member.asked == 0 || Clock::now() - begun < std::chrono::milliseconds(2)) {
    (void)co_await loop.yield();
  }
  member.answer.reset();
  const auto upstream = co_await group.connect(loop, flow, {});
  EXPECT_EQ(upstream ? upstream->via : "nobody", "eu (paris)");
  member.answer = ConnectReason::timed_out;
  member.held = false;
}

TEST(Group, failures_that_began_before_a_success_do_not_count) {
  Trio trio(GroupKind::failover);
  const Flow flow = flow_to(*Endpoint::parse("192.0.2.7:80"));
  trio.a->held = true;
  auto& loop = trio.stage.loop();
  const auto slow = trio.stage.run(trio.group->connect(loop, flow, {}),
                                   become_well(*trio.group, *trio.a, loop, flow));
  EXPECT_EQ(slow ? slow->via : "nobody", "eu (rome)");
  EXPECT_EQ(trio.group->status()[0].failures_in_a_row, 0U);
  EXPECT_EQ(trio.carry(), "eu (rome)");
  EXPECT_EQ(trio.group->status()[0].failures_in_a_row, 1U);
}

TEST(Group, members_that_are_left_out_are_tried_behind_the_others) {
  Trio trio(GroupKind::failover);
  trio.a->answer = ConnectReason::timed_out;
  for (std::uint32_t i = 0; i < Group::kFailuresToEject; ++i) EXPECT_EQ(trio.carry(), "eu (rome)");
  ASSERT_FALSE(trio.group->status()[0].usable);
  trio.a->answer.reset();
  EXPECT_EQ(trio.carry(), "eu (rome)");
  trio.b->answer = trio.c->answer = ConnectReason::denied;
  EXPECT_EQ(trio.carry(), "eu (paris)");
}

TEST(Group, the_turns_of_a_member_that_is_left_out_spread_over_the_others) {
  Trio trio(GroupKind::round_robin);
  EXPECT_TRUE(trio.group->report_check(0, {}));
  for (int i = 0; i < 6; ++i) (void)trio.carry();
  const auto status = trio.group->status();
  EXPECT_EQ(status[1].flows, 3U);
  EXPECT_EQ(status[2].flows, 3U);
}

TEST(Group, round_robin_begins_with_the_next_each_time) {
  Trio trio(GroupKind::round_robin);
  std::vector<std::string> carried;
  for (int i = 0; i < 4; ++i) carried.push_back(trio.carry());
  EXPECT_EQ(carried,
            (std::vector<std::string>{"eu (paris)", "eu (rome)", "eu (oslo)", "eu (paris)"}));
}

TEST(Group, least_latency_measures_everybody_once_and_then_takes_the_quickest) {
  Trio trio(GroupKind::least_latency);
  std::set<std::string> first;
  for (int i = 0; i < 3; ++i) first.insert(trio.carry());
  EXPECT_EQ(first.size(), 3U);
  const auto status = trio.group->status();
  const auto& quickest = *std::ranges::min_element(status, {}, &MemberStatus::latency_us);
  EXPECT_EQ(trio.carry(), "eu (" + std::string(quickest.name) + ")");
}

TEST(Group, least_latency_tries_last_what_has_only_failed) {
  Trio trio(GroupKind::least_latency);
  trio.a->answer = ConnectReason::denied;  // counts for no ejection
  for (int i = 0; i < 5; ++i) EXPECT_NE(trio.carry(), "denied by proxy");
  EXPECT_EQ(trio.a->asked, 1);
  EXPECT_TRUE(trio.group->status()[0].usable);
}

TEST(Group, checks_are_measurements_too) {
  Trio trio(GroupKind::least_latency);
  for (int i = 0; i < 3; ++i) (void)trio.carry();
  for (const std::size_t slow : {0U, 2U}) (void)trio.group->report_check(slow, 9'000'000);
  EXPECT_EQ(trio.carry(), "eu (rome)");
  (void)trio.group->report_check(1, 100'000'000);
  EXPECT_NE(trio.carry(), "eu (rome)");
}

TEST(Group, a_client_keeps_its_member_and_clients_spread) {
  Trio trio(GroupKind::hash_client);
  std::set<std::string> members;
  for (int host = 1; host < 64; ++host) {
    const std::string client = "192.0.2." + std::to_string(host);
    const std::string member = trio.carry(client.c_str());
    EXPECT_EQ(trio.carry(client.c_str()), member);
    members.insert(member);
  }
  EXPECT_EQ(members.size(), 3U);
}

TEST(Group, the_clients_of_a_lost_member_go_elsewhere_and_the_others_stay) {
  Trio trio(GroupKind::hash_client);
  std::vector<std::string> before;
  for (int host = 1; host < 64; ++host) {
    before.push_back(trio.carry(("192.0.2." + std::to_string(host)).c_str()));
  }
  EXPECT_TRUE(trio.group->report_check(1, {}));
  for (int host = 1; host < 64; ++host) {
    const auto now = trio.carry(("192.0.2." + std::to_string(host)).c_str());
    const auto& then = before[static_cast<std::size_t>(host) - 1];
    if (then == "eu (rome)") {
      EXPECT_NE(now, then);
    } else {
      EXPECT_EQ(now, then);
    }
  }
}

TEST(Group, a_check_leaves_out_and_takes_back) {
  Trio trio(GroupKind::failover);
  EXPECT_FALSE(trio.group->report_check(0, 200));  // no news
  EXPECT_TRUE(trio.group->report_check(0, {}));
  EXPECT_TRUE(trio.group->status()[0].found_dead);
  EXPECT_EQ(trio.carry(), "eu (rome)");
  EXPECT_TRUE(trio.group->report_check(0, 200));
  EXPECT_EQ(trio.carry(), "eu (paris)");
}

TEST(Group, a_passed_check_does_not_clear_what_flows_failed_by) {
  Trio trio(GroupKind::failover);
  trio.a->answer = ConnectReason::timed_out;
  for (std::uint32_t i = 0; i < Group::kFailuresToEject; ++i) (void)trio.carry();
  EXPECT_FALSE(trio.group->report_check(0, 200));
  EXPECT_FALSE(trio.group->status()[0].usable);
}

TEST(Group, without_a_name_it_shows_its_members_own) {
  const auto a = std::make_shared<FakeOut>();
  const auto b = std::make_shared<FakeOut>();
  const auto inner = Group::create("eu", GroupKind::failover, {{"paris", b}});
  const auto rule = Group::create("", GroupKind::failover, {{"wan2", a}, {"eu", inner}});
  EXPECT_EQ(rule->name(), "wan2");
  Stage stage;
  const Flow flow = flow_to(*Endpoint::parse("192.0.2.7:80"));
  const auto carried = [&] {
    const auto upstream = stage.run(rule->connect(stage.loop(), flow, {}));
    return std::string(upstream ? upstream->via : "nobody");
  };
  EXPECT_EQ(carried(), "wan2");
  a->answer = ConnectReason::timed_out;
  EXPECT_EQ(carried(), "eu (paris)");
}

TEST(Group, without_a_name_it_begins_with_the_first_however_often_that_failed) {
  const auto a = std::make_shared<FakeOut>();
  const auto b = std::make_shared<FakeOut>();
  const auto rule = Group::create("", GroupKind::failover, {{"wan2", a}, {"direct", b}});
  Stage stage;
  const Flow flow = flow_to(*Endpoint::parse("192.0.2.7:80"));
  a->answer = ConnectReason::timed_out;
  for (std::uint32_t i = 0; i < 2 * Group::kFailuresToEject; ++i) {
    EXPECT_TRUE(stage.run(rule->connect(stage.loop(), flow, {})).has_value());
  }
  EXPECT_EQ(a->asked, static_cast<int>(2 * Group::kFailuresToEject));
}

TEST(Group, datagrams_go_to_members_that_carry_them) {
  Trio trio(GroupKind::failover);
  ASSERT_TRUE(trio.group->carries_udp());
  trio.a->answer = trio.b->answer = ConnectReason::proxy_error;
  const Flow flow = flow_to(*Endpoint::parse("192.0.2.7:53"), Protocol::udp);
  const auto upstream = trio.stage.run(trio.group->associate(trio.stage.loop(), flow));
  EXPECT_FALSE(upstream.has_value());
  EXPECT_EQ(trio.c->asked, 0);
}

TEST(Group, a_mapping_stays_with_its_member_while_that_is_usable) {
  Trio trio(GroupKind::failover);
  ASSERT_TRUE(trio.group->maps_clients()) << "the member that carries no UDP does not count";
  const Flow flow = flow_to(*Endpoint::parse("192.0.2.7:4433"), Protocol::udp);
  const auto mapping = trio.stage.run(trio.group->open_mapping(trio.stage.loop(), flow));
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->via, "eu (paris)");
  EXPECT_TRUE(trio.group->still_maps(*mapping, Family::ipv4));
  EXPECT_TRUE(trio.group->report_check(0, {}));
  EXPECT_FALSE(trio.group->still_maps(*mapping, Family::ipv4));
  EXPECT_TRUE(trio.group->report_check(1, {}));
  EXPECT_TRUE(trio.group->still_maps(*mapping, Family::ipv4)) << "no other would do better";
}

}  // namespace
}  // namespace shunt
