// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/capabilities.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <string>

#include "kernel/netns.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

std::string status_field(std::string_view text, std::string_view name) {
  const auto at = text.find(name);
  if (at == std::string_view::npos) return {};
  const auto line = text.substr(at + name.size(), text.find('\n', at) - at - name.size());
  return std::string(line.substr(line.find_first_not_of(" \t")));
}

TEST(Capabilities, keep_only_leaves_the_named_ones_and_no_way_to_others) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root: capabilities to give up";
  const auto answer = run_in_child([]() -> Result<std::string> {
    constexpr std::array kKept = {CAP_NET_ADMIN, CAP_NET_RAW};
    SHUNT_CHECK(keep_only(kKept));
    const auto status = SHUNT_TRY(read_text_file("/proc/thread-self/status"));
    return status_field(status, "CapEff:") + " " + status_field(status, "CapPrm:") + " " +
           status_field(status, "CapInh:") + " " + status_field(status, "CapBnd:") + " " +
           status_field(status, "CapAmb:");
  });
  ASSERT_TRUE(answer.has_value()) << answer.error().text();
  EXPECT_EQ(*answer,
            "0000000000003000 0000000000003000 0000000000000000 0000000000000000 "
            "0000000000000000");
}

TEST(Capabilities, what_a_process_does_not_have_cannot_be_kept) {
  const auto answer = run_in_child([]() -> Result<std::string> {
    SHUNT_CHECK(keep_only({}));
    constexpr std::array kWanted = {CAP_NET_ADMIN};
    return std::string(keep_only(kWanted) ? "kept" : "refused");
  });
  ASSERT_TRUE(answer.has_value()) << answer.error().text();
  EXPECT_EQ(*answer, "refused");
}

TEST(Capabilities, no_new_ones_and_no_dumps) {
  const auto answer = run_in_child([]() -> Result<std::string> {
    SHUNT_CHECK(gain_no_privileges());
    SHUNT_CHECK(forbid_dumps());
    return std::to_string(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) + " " +
           std::to_string(::prctl(PR_GET_DUMPABLE));
  });
  ASSERT_TRUE(answer.has_value()) << answer.error().text();
  EXPECT_EQ(*answer, "1 0");
}

}  // namespace
}  // namespace shunt
