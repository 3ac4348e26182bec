// SPDX-License-Identifier: GPL-2.0-only
#include "dns/fake_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::Pair;

const FakePool::Time kNow{std::chrono::hours(1)};
constexpr auto kLong = std::chrono::seconds(2 * limits::kFakeTtlS);

Network network(const char* text) { return *Network::parse(text); }
Address address(const char* text) { return *Address::parse(text); }

TEST(FakePool, name_has_one_place_in_both_ranges) {
  FakePool pool(network("198.18.0.0/15"), network("fd00:1::/64"));
  EXPECT_EQ(pool.give("a.example", Family::ipv4, kNow)->text(), "198.18.0.1");
  EXPECT_EQ(pool.give("b.example", Family::ipv6, kNow)->text(), "fd00:1::2");
  EXPECT_EQ(pool.give("b.example", Family::ipv4, kNow)->text(), "198.18.0.2");
  EXPECT_EQ(pool.give("a.example", Family::ipv4, kNow)->text(), "198.18.0.1");
  EXPECT_EQ(pool.name_of(address("fd00:1::1"), kNow), "a.example");
  EXPECT_EQ(pool.size(), 2U);
}

TEST(FakePool, address_that_was_not_given_has_no_name) {
  FakePool pool(network("198.18.0.0/15"), network("fd00:1::/64"));
  pool.give("a.example", Family::ipv4, kNow);
  for (const char* text : {"198.18.0.0", "198.18.0.2", "198.19.255.255", "192.0.2.1",
                           "fd00:1::", "fd00:1::1:0:1", "fd00:1::1:0:0:1", "fd00:2::1"}) {
    EXPECT_EQ(pool.name_of(address(text), kNow), std::nullopt) << text;
  }
  EXPECT_TRUE(pool.contains(address("198.19.255.255")));
  EXPECT_FALSE(pool.contains(address("198.20.0.0")));
}

TEST(FakePool, without_a_range_of_the_family_nothing_is_given) {
  FakePool pool(network("198.18.0.0/15"));
  EXPECT_EQ(pool.give("a.example", Family::ipv6, kNow), std::nullopt);
  EXPECT_EQ(pool.size(), 0U);
}

TEST(FakePool, least_recently_used_name_gives_up_its_place) {
  FakePool pool(network("198.18.0.0/30"));
  pool.give("a.example", Family::ipv4, kNow);
  pool.give("b.example", Family::ipv4, kNow);
  pool.name_of(address("198.18.0.1"), kNow);  // a is used
  EXPECT_EQ(pool.give("c.example", Family::ipv4, kNow + kLong)->text(), "198.18.0.2");
  EXPECT_EQ(pool.name_of(address("198.18.0.2"), kNow + kLong), "c.example");
  EXPECT_EQ(pool.name_of(address("198.18.0.1"), kNow + kLong), "a.example");
}

TEST(FakePool, address_that_a_client_may_still_know_keeps_its_meaning) {
  FakePool pool(network("198.18.0.0/30"));
  pool.give("a.example", Family::ipv4, kNow);
  pool.give("b.example", Family::ipv4, kNow);
  EXPECT_EQ(pool.give("c.example", Family::ipv4, kNow + kLong - std::chrono::seconds(1)),
            std::nullopt);
  EXPECT_EQ(pool.name_of(address("198.18.0.1"), kNow), "a.example");
}

TEST(FakePool, most_names_are_kept_in_a_large_range) {
  FakePool pool(network("10.0.0.0/8"), {}, 3);
  for (const char* name : {"a.example", "b.example", "c.example"}) {
    EXPECT_TRUE(pool.give(name, Family::ipv4, kNow));
  }
  EXPECT_EQ(pool.give("d.example", Family::ipv4, kNow), std::nullopt);
  EXPECT_TRUE(pool.give("d.example", Family::ipv4, kNow + kLong));
  EXPECT_EQ(pool.size(), 3U);
}

TEST(FakePool, restored_assignments_hold_and_new_ones_go_beside_them) {
  FakePool pool(network("198.18.0.0/29"));
  pool.restore({{2, "two.example"},
                {2, "again.example"},
                {99, "far.example"},
                {0, "x.example"},
                {3, "two.example"}},
               kNow);
  EXPECT_THAT(pool.assignments(), ElementsAre(Pair(2U, "two.example")));
  EXPECT_EQ(pool.give("new.example", Family::ipv4, kNow)->text(), "198.18.0.1");
  EXPECT_EQ(pool.give("newer.example", Family::ipv4, kNow)->text(), "198.18.0.3");
}

TEST(FakePool, new_assignments_are_told) {
  FakePool pool(network("198.18.0.0/15"));
  std::vector<std::pair<FakePool::Place, std::string>> told;
  pool.on_assignment([&](auto place, auto name) { told.emplace_back(place, name); });
  pool.give("a.example", Family::ipv4, kNow);
  pool.give("a.example", Family::ipv4, kNow);
  EXPECT_THAT(told, ElementsAre(Pair(1U, "a.example")));
}

}  // namespace
}  // namespace shunt
