// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/policy.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "egress/direct.h"

namespace shunt {
namespace {

std::shared_ptr<const Policy> policy_of(const std::vector<std::string>& rules,
                                        std::string_view fallback = "direct") {
  PolicySource source;
  source.ways_out = {"a", "b"};
  source.fallback.text = fallback;
  for (const std::string& text : rules) source.rules.push_back({.text = text, .place = {}});
  return Policy::create(Ruleset::compile(std::move(source)).value(),
                        {make_direct({}), make_direct({}, "a"), make_direct({}, "b")});
}

TEST(Policy, rule_is_carried_by_the_way_out_it_names) {
  const auto policy = policy_of({"port 80 -> b", "port 81 -> reject", "port 82 -> drop"}, "a");
  EXPECT_EQ(policy->carrier(0)->name(), "a");
  EXPECT_EQ(policy->carrier(1)->name(), "b");
  EXPECT_EQ(policy->carrier(2), nullptr);
  EXPECT_EQ(policy->carrier(3), nullptr);
}

TEST(Policy, what_no_rule_matches_goes_direct_to_port_53_of_a_resolver_of_the_hosts) {
  PolicySource source;
  source.ways_out = {"a"};
  source.fallback.text = "a";
  source.rules.push_back({.text = "client 192.0.2.1 -> a", .place = {}});
  const Address stub = *Address::parse("127.0.0.53");
  const auto policy =
      Policy::create(Ruleset::compile(std::move(source)).value(),
                     {make_direct({}), make_direct({}, "a")}, nullptr, nullptr, {stub});
  EXPECT_EQ(policy->carrier(0, {.address = stub, .port = 53})->name(), "direct");
  EXPECT_EQ(policy->carrier(0, {.address = stub, .port = 5353})->name(), "a");
  EXPECT_EQ(policy->carrier(0, {.address = Address::loopback(Family::ipv4), .port = 53})->name(),
            "a");
  EXPECT_EQ(policy->carrier(1, {.address = stub, .port = 53})->name(), "a");
}

TEST(Policy, rules_with_the_same_chain_share_its_state) {
  const auto policy = policy_of({"port 80 -> a else b", "port 81 -> a else b", "-> b else a"});
  EXPECT_EQ(policy->carrier(1), policy->carrier(2));
  EXPECT_NE(policy->carrier(1), policy->carrier(3));
}

TEST(Policy, verdicts_are_compared_by_what_happens) {
  const auto policy = policy_of({"port 80 -> a", "-> reject"});
  const auto other = policy_of({"port 81 -> drop", "port 82 -> a", "-> a else b"}, "reject");
  EXPECT_TRUE(policy->same_verdict(1, *other, 2));
  EXPECT_FALSE(policy->same_verdict(1, *other, 3));
  EXPECT_TRUE(policy->same_verdict(2, *other, 0));
  EXPECT_FALSE(policy->same_verdict(2, *other, 1));
}

TEST(Policy, may_be_replaced_while_others_read_it) {
  CurrentPolicy current(policy_of({}));
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        const auto policy = current.get();
        policy->hit(policy->rules().size());
        EXPECT_NE(policy->carrier(0), nullptr);
      }
    });
  }
  for (int i = 0; i < 200; ++i) {
    current.replace(i % 2 == 0 ? policy_of({"-> a"}) : policy_of({"-> a", "-> b"}));
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(current.get()->rules().size(), 2U);
}

}  // namespace
}  // namespace shunt
