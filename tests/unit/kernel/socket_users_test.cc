// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/socket_users.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/unique_fd.h"

namespace shunt {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(UsersOfSocket, are_those_of_the_processes_that_hold_it) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_TRUE(fd.valid());
  struct stat status{};
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  const auto inode = static_cast<std::uint32_t>(status.st_ino);
  EXPECT_THAT(users_of_socket(inode), ElementsAre(::geteuid()));
  fd.reset();
  EXPECT_THAT(users_of_socket(inode), IsEmpty());
}

}  // namespace
}  // namespace shunt
