// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/call_trap.h"

#include <gtest/gtest.h>

#include "kernel/foreign_process.h"
#include "kernel/syscall_filter.h"

namespace shunt {
namespace {

TEST(CallTrap, traps_a_childs_call_and_answers_it) {
  if (!can_be_restricted()) GTEST_SKIP() << "needs a build without sanitizers";
  if (const auto open = check_foreign_access({}); !open) GTEST_SKIP() << open.error().text();
  const auto tried = probe_call_trap();
  EXPECT_TRUE(tried) << tried.error().text();
}

}  // namespace
}  // namespace shunt
