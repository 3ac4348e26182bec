// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/namespace_members.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <vector>

#include "kernel/netns.h"

namespace shunt {
namespace {

using testing::Contains;
using testing::Not;

/// A process that waits to be killed.
class Sleeper {
 public:
  Sleeper() : pid_(::fork()) {
    if (pid_ == 0) {
      ::pause();
      ::_exit(0);
    }
  }
  ~Sleeper() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

TEST(NamespaceMembers, include_this_process_and_its_child) {
  const auto here = open_network_namespace();
  ASSERT_TRUE(here);
  const Sleeper child;
  std::vector<pid_t> members;
  for_each_member(here->get(), [&](pid_t pid) {
    members.push_back(pid);
    return true;
  });
  EXPECT_THAT(members, Contains(::getpid()));
  EXPECT_THAT(members, Contains(child.pid()));
  EXPECT_TRUE(has_members(here->get(), ::getpid()));
}

TEST(Descendants, are_the_process_and_its_children_but_not_its_parent) {
  const Sleeper child;
  std::vector<pid_t> found;
  for_each_descendant(::getpid(), [&](pid_t pid) { found.push_back(pid); });
  EXPECT_THAT(found, Contains(::getpid()));
  EXPECT_THAT(found, Contains(child.pid()));
  EXPECT_THAT(found, Not(Contains(::getppid())));
}

}  // namespace
}  // namespace shunt
