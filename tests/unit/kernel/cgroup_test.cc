// SPDX-License-Identifier: GPL-2.0-only
// Cgroups that the test makes below the one that it is in.
#include "kernel/cgroup.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/error_numbers.h"

namespace shunt {
namespace {

class CgroupTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto own = cgroup_directory();
    if (!own) GTEST_SKIP() << "needs cgroups: " << own.error().text();
    if (::access(own->c_str(), W_OK) != 0) GTEST_SKIP() << "needs cgroups: not writable";
    own_ = *own;
  }

  static bool exists(const std::string& directory) {
    return ::access(directory.c_str(), F_OK) == 0;
  }

  /// A process that waits in the cgroup for its end.
  static pid_t child_in(const std::string& directory) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) ::pause();
    }
    EXPECT_TRUE(move_to_cgroup(child, directory));
    return child;
  }

  static void end(pid_t child) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }

  std::string own_;
};

TEST_F(CgroupTest, goes_with_its_owner) {
  std::string directory;
  {
    auto made = Cgroup::create(own_, "test");
    ASSERT_TRUE(made) << made.error().text();
    directory = made->directory();
    EXPECT_TRUE(exists(directory));
    EXPECT_FALSE(is_populated(directory));
    const Cgroup moved = std::move(*made);
    EXPECT_EQ(moved.directory(), directory);
    EXPECT_TRUE(exists(directory));
  }
  EXPECT_FALSE(exists(directory));
}

TEST_F(CgroupTest, goes_with_empty_ones_that_were_made_below_it) {
  auto made = Cgroup::create(own_, "test");
  ASSERT_TRUE(made);
  const std::string below = made->directory() + "/payload";
  ASSERT_EQ(::mkdir(below.c_str(), 0755), 0);
  made->remove();
  EXPECT_FALSE(exists(made->directory()));
}

TEST_F(CgroupTest, processes_are_found_also_below_it) {
  auto made = Cgroup::create(own_, "test");
  ASSERT_TRUE(made);
  const std::string below = made->directory() + "/payload";
  ASSERT_EQ(::mkdir(below.c_str(), 0755), 0);
  const pid_t child = child_in(below);
  EXPECT_TRUE(is_populated(made->directory()));
  EXPECT_EQ(cgroup_processes(made->directory()), std::vector<pid_t>{child});
  EXPECT_EQ(cgroup_directory(child).value_or(""), below);
  end(child);
  EXPECT_FALSE(is_populated(made->directory()));
}

TEST_F(CgroupTest, id_is_that_of_the_directory) {
  auto made = Cgroup::create(own_, "test");
  ASSERT_TRUE(made);
  struct stat status{};
  ASSERT_EQ(::stat(made->directory().c_str(), &status), 0);
  EXPECT_EQ(cgroup_id(made->directory()).value_or(0), status.st_ino);
  EXPECT_FALSE(is_root_cgroup(made->directory()));
}

TEST_F(CgroupTest, sweep_takes_what_the_dead_left_and_spares_the_living) {
  auto parent = Cgroup::create(own_, "test");
  ASSERT_TRUE(parent);
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  const auto below = [&](const std::string& name) {
    const std::string directory = parent->directory() + "/" + name;
    EXPECT_EQ(::mkdir(directory.c_str(), 0755), 0);
    return directory;
  };
  const std::string dead = below("shunt-run-" + std::to_string(gone) + "-0");
  const std::string live = below("shunt-run-" + std::to_string(::getpid()) + "-7");
  const std::string used = below("shunt-run-" + std::to_string(gone) + "-1");
  const std::string others = below("somebody-else-" + std::to_string(gone) + "-0");
  const pid_t child = child_in(used);
  EXPECT_EQ(sweep_cgroups(parent->directory()), 1);
  EXPECT_FALSE(exists(dead));
  EXPECT_TRUE(exists(live));
  EXPECT_TRUE(exists(used));
  EXPECT_TRUE(exists(others));
  end(child);
}

TEST_F(CgroupTest, one_that_is_not_there_is_said_with_its_path) {
  const auto found = cgroup_directory_of("/no/such/cgroup.slice");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().number, error_number::kNoCgroup);
  EXPECT_NE(found.error().text().find("/no/such/cgroup.slice"), std::string::npos);
}

TEST(CgroupPath, level_counts_from_the_root) {
  EXPECT_EQ(cgroup_level("/"), 0U);
  EXPECT_EQ(cgroup_level("/system.slice"), 1U);
  EXPECT_EQ(cgroup_level("/system.slice/nginx.service"), 2U);
}

}  // namespace
}  // namespace shunt
