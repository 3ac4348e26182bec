// SPDX-License-Identifier: GPL-2.0-only
#include "control/service_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "net/unique_fd.h"

namespace shunt {
namespace {

using testing::MatchesRegex;

class Manager : public testing::Test {
 protected:
  void listen(std::string name) {
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address),
                     static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size())),
              0);
  }
  std::string heard() {
    char buffer[512];
    const ssize_t count = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    return count < 0 ? "" : std::string(buffer, static_cast<std::size_t>(count));
  }
  void TearDown() override { ::unsetenv("NOTIFY_SOCKET"); }

  std::string abstract_ = "@shunt-test-" + std::to_string(::getpid());
  UniqueFd socket_;
};

TEST_F(Manager, hears_that_shunt_is_ready_with_one_line_of_status) {
  listen(abstract_);
  ASSERT_TRUE(notify_ready("12 rules\nREADY=0"));
  EXPECT_EQ(heard(), "READY=1\nSTATUS=12 rules READY=0\n");
}

TEST_F(Manager, hears_when_a_reload_began) {
  listen(testing::TempDir() + "notify-" + std::to_string(::getpid()));
  ASSERT_TRUE(notify_reloading());
  EXPECT_THAT(heard(), MatchesRegex("RELOADING=1\nMONOTONIC_USEC=[0-9]+\n"));
  ASSERT_TRUE(notify_stopping());
  EXPECT_EQ(heard(), "STOPPING=1\n");
}

TEST_F(Manager, need_not_be_there) { EXPECT_TRUE(notify_ready("alone")); }

TEST_F(Manager, that_is_gone_is_an_error_and_no_more) {
  ::setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
  EXPECT_FALSE(notify_ready("x"));
  ::setenv("NOTIFY_SOCKET", "relative", 1);
  EXPECT_FALSE(notify_ready("x"));
}

}  // namespace
}  // namespace shunt
