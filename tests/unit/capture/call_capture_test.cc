// SPDX-License-Identifier: GPL-2.0-only
#include "capture/call_capture.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

TEST(CallCapture, a_command_that_never_enters_keeps_nobody_waiting) {
  const auto capture = CallCapture::create(CaptureMethod::seccomp, {});
  ASSERT_TRUE(capture) << capture.error().text();
  EXPECT_FALSE((*capture)->has_members());
}

}  // namespace
}  // namespace shunt
