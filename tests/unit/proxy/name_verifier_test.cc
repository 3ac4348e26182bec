// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/name_verifier.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "base/counters.h"
#include "base/limits.h"
#include "unit/support/loop_thread.h"
#include "unit/support/no_threads.h"

namespace shunt {
namespace {

using namespace std::chrono_literals;

std::atomic<int> lookups = 0;

/// "slow…" takes a second; "none…" has no address.
std::vector<Address> resolver(const std::string& name) {
  ++lookups;
  if (name.starts_with("slow")) std::this_thread::sleep_for(1s);
  if (name.starts_with("none")) return {};
  return {*Address::parse("192.0.2.1"), *Address::parse("2001:db8::1")};
}

class NameVerifierTest : public testing::Test {
 protected:
  void SetUp() override { lookups = 0; }

  std::future<bool> verify(std::string name, std::string_view address = "192.0.2.1",
                           std::uint32_t wait_ms = 10'000) {
    return loop_.start<bool>([this, name, address = *Address::parse(address), wait_ms] {
      return verifier_->verify(loop_.loop(), name, address, wait_ms);
    });
  }

  std::unique_ptr<NameVerifier> verifier_ = std::make_unique<NameVerifier>(resolver);
  test::LoopThread loop_;
};

TEST_F(NameVerifierTest, ties_a_name_to_each_of_its_addresses) {
  EXPECT_EQ(verifier_->known("a.example", *Address::parse("192.0.2.1")), std::nullopt);
  EXPECT_TRUE(verify("a.example").get());
  EXPECT_TRUE(verify("a.example", "2001:db8::1").get());
  EXPECT_FALSE(verify("a.example", "192.0.2.2").get());
  EXPECT_EQ(verifier_->known("a.example", *Address::parse("192.0.2.2")), false);
  EXPECT_FALSE(verify("none.example").get());
}

TEST_F(NameVerifierTest, asks_once_for_a_name_that_many_wait_for) {
  std::vector<std::future<bool>> answers;
  for (int i = 0; i < 20; ++i) answers.push_back(verify("slow.example"));
  for (auto& answer : answers) EXPECT_TRUE(answer.get());
  EXPECT_TRUE(verify("slow.example").get());
  EXPECT_EQ(lookups, 1);
}

TEST_F(NameVerifierTest, slow_name_does_not_hold_up_another) {
  auto slow = verify("slow.example");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(verify("a.example").get());
  EXPECT_LT(std::chrono::steady_clock::now() - start, 900ms);
  EXPECT_TRUE(slow.get());
}

TEST_F(NameVerifierTest, answer_that_came_too_late_is_there_for_the_next) {
  EXPECT_FALSE(verify("slow.example", "192.0.2.1", 100).get());
  EXPECT_TRUE(verify("slow.example").get());
  EXPECT_EQ(lookups, 1);
}

TEST_F(NameVerifierTest, too_many_names_at_once_are_not_verified) {
  const auto before = counted(Counter::name_lookups_left_out);
  std::vector<std::future<bool>> answers;
  for (std::size_t i = 0; i < limits::kNamesToVerify + limits::kVerifierThreads + 10; ++i) {
    answers.push_back(verify("slow" + std::to_string(i) + ".example", "192.0.2.1", 500));
  }
  for (auto& answer : answers) EXPECT_FALSE(answer.get());
  EXPECT_GE(counted(Counter::name_lookups_left_out), before + 10);
}

TEST_F(NameVerifierTest, without_a_thread_a_name_is_not_verified_and_the_next_one_is) {
  const auto before = counted(Counter::name_lookups_left_out);
  {
    const test::NoThreads none;
    EXPECT_FALSE(verify("a.example").get());
  }
  EXPECT_EQ(counted(Counter::name_lookups_left_out), before + 1);
  EXPECT_TRUE(verify("a.example").get());
}

TEST_F(NameVerifierTest, may_go_while_a_lookup_is_under_way) {
  EXPECT_FALSE(verify("slow.example", "192.0.2.1", 50).get());
  verifier_.reset();
}

TEST_F(NameVerifierTest, wait_ends_when_the_loop_is_cancelled) {
  auto answer = verify("slow.example");
  loop_.loop().post([this] { loop_.loop().cancel_all(); });
  EXPECT_EQ(answer.wait_for(800ms), std::future_status::ready);
}

}  // namespace
}  // namespace shunt
