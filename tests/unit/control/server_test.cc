// SPDX-License-Identifier: GPL-2.0-only
#include "control/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "control/client.h"
#include "control/socket_path.h"

namespace shunt::control {
namespace {

using testing::ElementsAre;

/// A server on a thread of its own that says back what it is asked.
class Echo {
 public:
  Echo() {
    std::string name = testing::TempDir() + "control.XXXXXX";
    folder_ = ::mkdtemp(name.data());
    // Longer than sun_path takes.
    folder_ += "/" + std::string(120, 'x');
    std::filesystem::create_directory(folder_);
  }
  ~Echo() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    server_.reset();
    std::filesystem::remove_all(std::filesystem::path(folder_).parent_path());
  }

  Result<void> start() {
    server_.emplace(SHUNT_TRY(Server::create(path())));
    thread_ = std::thread([this] {
      while (!stop_) {
        pollfd polled{.fd = server_->fd(), .events = POLLIN, .revents = 0};
        ::poll(&polled, 1, 20);
        server_->serve([](const std::vector<std::string>& words) {
          return Answer{.exit_code = static_cast<int>(words.size()), .texts = words, .errors = {}};
        });
      }
    });
    return {};
  }
  [[nodiscard]] std::string path() const { return folder_ + "/control.0"; }
  [[nodiscard]] UniqueFd connect() const {
    const auto address = SocketPath::create(path());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), address->get(), SocketPath::size()), 0);
    return fd;
  }

 private:
  std::string folder_;
  std::optional<Server> server_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

TEST(ControlServer, answers_a_request) {
  Echo echo;
  ASSERT_TRUE(echo.start());
  const auto answer = ask(echo.path(), "reload close-changed", 5000);
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_THAT(answer->texts, ElementsAre("reload", "close-changed"));
  EXPECT_EQ(answer->exit_code, 2);
}

TEST(ControlServer, nobody_else_may_connect) {
  Echo echo;
  ASSERT_TRUE(echo.start());
  struct stat status{};
  ASSERT_EQ(::stat(echo.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST(ControlServer, those_who_say_nothing_hold_nobody_up) {
  Echo echo;
  ASSERT_TRUE(echo.start());
  std::vector<UniqueFd> silent;
  for (std::size_t i = 0; i < 2 * Server::kMostClients; ++i) silent.push_back(echo.connect());
  EXPECT_TRUE(ask(echo.path(), "x", 5000));
}

TEST(ControlServer, a_request_without_end_is_not_waited_for) {
  Echo echo;
  ASSERT_TRUE(echo.start());
  const UniqueFd fd = echo.connect();
  const std::string line(kRequestBytes, 'x');
  ASSERT_EQ(::send(fd.get(), line.data(), line.size(), 0), static_cast<ssize_t>(line.size()));
  char byte = 0;
  EXPECT_LE(::recv(fd.get(), &byte, 1, 0), 0);
}

TEST(ControlServer, takes_the_place_of_one_that_was_killed) {
  Echo echo;
  {
    const std::ofstream left(echo.path());
  }
  ASSERT_TRUE(echo.start());
  EXPECT_TRUE(ask(echo.path(), "x", 5000));
}

TEST(ControlClient, says_that_nobody_is_there) {
  const Echo echo;
  const auto answer = ask(echo.path(), "reload", 5000);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, Kind::unreachable);
}

}  // namespace
}  // namespace shunt::control
