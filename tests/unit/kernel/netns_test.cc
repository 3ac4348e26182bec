// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/netns.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>

#include "in_namespace.h"
#include "kernel/capabilities.h"
#include "kernel/features.h"
#include "kernel/held_fd.h"

namespace shunt {
namespace {

TEST(Child, brings_its_answer_back) {
  const auto answer =
      run_in_child([]() -> Result<std::string> { return std::string("a\0b\nc", 5); });
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(*answer, std::string("a\0b\nc", 5));
}

TEST(Child, brings_its_error_back_whole) {
  const auto answer = run_in_child([]() -> Result<std::string> {
    return Failure(Error{.kind = Kind::conflict,
                         .os_error = EBUSY,
                         .message = "in use",
                         .help = "stop it",
                         .number = 12});
  });
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, Kind::conflict);
  EXPECT_EQ(answer.error().os_error, EBUSY);
  EXPECT_EQ(answer.error().message, "in use");
  EXPECT_EQ(answer.error().help, "stop it");
  EXPECT_EQ(answer.error().number, 12);
}

TEST(Child, that_dies_is_an_error) {
  const auto answer = run_in_child([]() -> Result<std::string> {
    ::raise(SIGKILL);
    return std::string();
  });
  EXPECT_FALSE(answer.has_value());
}

TEST(Child, that_hangs_is_ended_at_the_deadline) {
  const auto answer = run_in_child(
      []() -> Result<std::string> {
        while (true) ::pause();
      },
      50);
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().os_error, ETIMEDOUT);
}

std::string own_id() { return network_namespace_id().value_or("unknown"); }

TEST(NetworkNamespace, is_told_from_another) {
  run_in_test_namespace([](Checks& check) {
    const auto before = own_id();
    check.that(own_id() == before, "stable");
    check.that(::unshare(CLONE_NEWNET) == 0, "another one");
    check.that(own_id() != before, "another id");
  });
}

TEST(NetworkNamespace, can_be_worked_in_from_another) {
  run_in_test_namespace([](Checks& check) {
    const auto first = open_network_namespace();
    const auto first_id = own_id();
    check.that(::unshare(CLONE_NEWNET) == 0, "leave it");
    std::string seen;
    check.ok(run_in_network_namespace(first->get(),
                                      [&]() -> Result<void> {
                                        seen = own_id();
                                        return {};
                                      }),
             "run");
    check.that(seen == first_id, "ran there");
    check.that(own_id() != first_id, "the caller stayed");
  });
}

TEST(Capabilities, dropped_from_the_bounding_set_stay_away) {
  const auto answer = run_in_throwaway_namespace([]() -> Result<std::string> {
    if (!has_capability(CAP_NET_ADMIN)) return std::string("no CAP_NET_ADMIN");
    SHUNT_CHECK(drop_from_bounding_set({CAP_NET_ADMIN, CAP_SYS_ADMIN}));
    if (::prctl(PR_CAPBSET_READ, CAP_NET_ADMIN) != 0) return std::string("still in the set");
    if (::prctl(PR_CAPBSET_READ, CAP_CHOWN) != 1) return std::string("others were dropped too");
    SHUNT_CHECK(keep_only(std::array{CAP_NET_RAW}));
    if (has_capability(CAP_NET_ADMIN)) return std::string("still effective");
    if (!has_capability(CAP_NET_RAW)) return std::string("not kept");
    const auto needed = require_capability(CAP_NET_ADMIN, "a test");
    if (needed || needed.error().message != "a test needs CAP_NET_ADMIN") {
      return std::string("not named");
    }
    return std::string();
  });
  if (!answer) GTEST_SKIP() << no_namespace_because();
  EXPECT_EQ(*answer, "");
}

TEST(Features, are_named_and_explained) {
  const auto features = probe_features();
  for (const Feature& feature : features.all) {
    EXPECT_NE(feature.name, "");
    EXPECT_EQ(feature.available, feature.reason.empty()) << feature.name;
  }
  EXPECT_EQ(features[FeatureId::tun_device].name, "tun-device");
  EXPECT_EQ(features[FeatureId::user_namespace].name, "user-namespace");
  EXPECT_EQ(features[FeatureId::network_namespace].available, no_namespace_because().empty());
}

TEST(Features, are_all_found_where_root_has_a_full_kernel) {
  if (!has_capability(CAP_NET_ADMIN) || !has_capability(CAP_SYS_ADMIN)) {
    GTEST_SKIP() << "needs root: CAP_NET_ADMIN and CAP_SYS_ADMIN";
  }
  const auto features = probe_features();
  EXPECT_TRUE(features[FeatureId::nft_owner_table].available)
      << features[FeatureId::nft_owner_table].reason;
  EXPECT_TRUE(features[FeatureId::policy_routing].available)
      << features[FeatureId::policy_routing].reason;
}

TEST(Features, refusals_of_user_namespaces_name_the_switch) {
  const auto error = explain_user_namespace_refusal(ENOSPC);
  EXPECT_EQ(error.kind, Kind::unsupported);
  EXPECT_NE(error.message.find("max_user_namespaces"), std::string::npos);
  EXPECT_NE(error.help, "");
}

TEST(HeldFd, is_closed_in_a_forked_child) {
  const HeldFd held(UniqueFd(::dup(0)));
  const int fd = held.get();
  ASSERT_GE(fd, 0);
  const auto answer = run_in_child([&]() -> Result<std::string> {
    if (held.valid()) return std::string("still valid");
    return std::string(::fcntl(fd, F_GETFD) < 0 ? "" : "still open");
  });
  EXPECT_EQ(*answer, "");
  EXPECT_EQ(::fcntl(held.get(), F_GETFD), FD_CLOEXEC);
}

TEST(HeldFd, is_usable_again_after_reset) {
  for (int round = 0; round < 1000; ++round) {
    const HeldFd held(UniqueFd(::dup(0)));
    ASSERT_TRUE(held.valid());
  }
}

}  // namespace
}  // namespace shunt
