// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/process_environment.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

namespace shunt {
namespace {

/// A `cat` with these variables, which waits for its input.
class Waiting {
 public:
  explicit Waiting(std::string first, std::string second) {
    EXPECT_EQ(::pipe(ends_), 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(ends_[0], STDIN_FILENO);
      ::close(ends_[1]);
      char program[] = "cat";
      char* const arguments[] = {program, nullptr};
      char* const environment[] = {first.data(), second.data(), nullptr};
      ::execve("/bin/cat", arguments, environment);
      ::_exit(127);
    }
    ::close(ends_[0]);
  }
  ~Waiting() {
    ::close(ends_[1]);
    ::waitpid(child_, nullptr, 0);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  [[nodiscard]] pid_t pid() const { return child_; }

 private:
  int ends_[2] = {-1, -1};
  pid_t child_ = -1;
};

bool comes_true(auto condition) {
  for (int tries = 0; tries < 500; ++tries) {
    if (condition()) return true;
    ::poll(nullptr, 0, 10);
  }
  return false;
}

std::string unique(std::string_view name) {
  return std::string(name) + "=" + std::to_string(::getpid()) + "-of-this-test";
}

TEST(ProcessEnvironment, FindsAProcessByAVariableOfItsOwn) {
  const std::string variable = unique("SHUNT_TEST_FIRST");
  EXPECT_FALSE(any_process_has(variable));
  {
    const Waiting child(variable, "OTHER=1");
    EXPECT_TRUE(comes_true([&] { return process_has(child.pid(), variable); }));
    EXPECT_TRUE(any_process_has(variable));
    EXPECT_TRUE(process_has(child.pid(), "OTHER=1"));
    EXPECT_FALSE(process_has(child.pid(), "OTHER=")) << "the whole value counts";
    EXPECT_FALSE(process_has(child.pid(), "THER=1")) << "and the whole name";
  }
  EXPECT_FALSE(any_process_has(variable)) << "it is gone";
}

TEST(ProcessEnvironment, FindsItBehindALongOne) {
  const std::string variable = unique("SHUNT_TEST_LAST");
  for (const std::size_t size : {64u * 1024 - 20, 64u * 1024, 100'000u}) {
    const Waiting child("LONG=" + std::string(size, 'x'), variable);
    EXPECT_TRUE(comes_true([&] { return process_has(child.pid(), variable); })) << size;
  }
}

}  // namespace
}  // namespace shunt
