// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/tun.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "base/error_numbers.h"

namespace shunt {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(TunRefusal, for_lack_of_permission_is_not_mended_by_a_module) {
  const Error closed = explain_tun_refusal(EACCES);
  EXPECT_EQ(closed.kind, Kind::privilege);
  EXPECT_EQ(closed.number, error_number::kNoTun);
  EXPECT_THAT(closed.help, HasSubstr("chmod 666 /dev/net/tun"));
  const Error forbidden = explain_tun_refusal(EPERM);
  EXPECT_EQ(forbidden.kind, Kind::privilege);
  EXPECT_THAT(forbidden.help, HasSubstr("--device /dev/net/tun"));
  for (const Error& error : {closed, forbidden})
    EXPECT_THAT(error.help, Not(HasSubstr("modprobe")));
}

TEST(TunRefusal, for_lack_of_the_driver_names_its_module) {
  for (const int os_error : {ENOENT, ENODEV, ENXIO}) {
    const Error error = explain_tun_refusal(os_error);
    EXPECT_EQ(error.kind, Kind::unsupported);
    EXPECT_THAT(error.help, HasSubstr("modprobe tun"));
  }
}

}  // namespace
}  // namespace shunt
