// SPDX-License-Identifier: GPL-2.0-only
#include "cli/proxy_setup.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

namespace shunt::cli {
namespace {

bool makes_lines(int fd) {
  TrafficSetup setup;
  setup.start_log(false, fd, nullptr);
  return setup.log != nullptr;
}

TEST(TrafficSetup, makes_lines_where_they_may_be_read) {
  const UniqueFd file(::memfd_create("lines", MFD_CLOEXEC));
  EXPECT_TRUE(makes_lines(file.get()));
  const UniqueFd zero(::open("/dev/zero", O_WRONLY | O_CLOEXEC));  // a device, but another one
  EXPECT_TRUE(makes_lines(zero.get()));
}

TEST(TrafficSetup, makes_none_where_nobody_can_read_them) {
  EXPECT_FALSE(makes_lines(-1));
  const UniqueFd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  EXPECT_FALSE(makes_lines(null.get()));
}

}  // namespace
}  // namespace shunt::cli
