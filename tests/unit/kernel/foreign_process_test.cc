// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/foreign_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <expected>
#include <string>
#include <thread>
#include <vector>

namespace shunt {
namespace {

std::uint64_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

/// 0 where there is no error.
template <class T>
int error_of(const std::expected<T, int>& result) {
  return result ? 0 : result.error();
}

TEST(ForeignProcesses, a_copied_descriptor_is_the_same_file) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  ForeignProcesses processes;
  for (int i = 0; i < 2; ++i) {  // the second by what is kept
    const auto copy = processes.descriptor(::getpid(), writer.get());
    ASSERT_TRUE(copy) << copy.error();
    EXPECT_NE(copy->get(), writer.get());
    EXPECT_EQ(::write(copy->get(), "x", 1), 1);
    char byte = 0;
    EXPECT_EQ(::read(reader.get(), &byte, 1), 1);
  }
}

TEST(ForeignProcesses, a_threads_number_finds_its_process) {
  ForeignProcesses processes;
  std::thread thread([&processes] {
    const auto self = static_cast<pid_t>(::syscall(SYS_gettid));
    EXPECT_TRUE(processes.descriptor(self, STDERR_FILENO));
  });
  thread.join();
}

TEST(ForeignProcesses, what_is_not_open_is_told_from_who_is_gone) {
  ForeignProcesses processes;
  EXPECT_EQ(error_of(processes.descriptor(::getpid(), 999'999)), EBADF);
  const pid_t child = ::fork();
  if (child == 0) ::pause();
  ASSERT_GT(child, 0);
  EXPECT_TRUE(processes.descriptor(child, STDERR_FILENO));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(error_of(processes.descriptor(child, STDERR_FILENO)), ESRCH);
}

TEST(ForeignProcesses, what_is_kept_makes_way_where_descriptors_are_short) {
  ForeignProcesses processes;
  std::vector<pid_t> children;
  for (std::size_t i = 0; i < ForeignProcesses::kKept; ++i) {
    const pid_t child = ::fork();
    if (child == 0) ::pause();
    ASSERT_GT(child, 0);
    children.push_back(child);
    ASSERT_TRUE(processes.descriptor(child, STDERR_FILENO));
  }
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const UniqueFd next(::dup(STDERR_FILENO));  // all numbers below it are taken
  rlimit few = before;
  few.rlim_cur = static_cast<rlim_t>(next.get()) + 1;
  ::setrlimit(RLIMIT_NOFILE, &few);
  EXPECT_TRUE(processes.descriptor(::getpid(), STDERR_FILENO));  // needs two
  few.rlim_cur = 1;
  ::setrlimit(RLIMIT_NOFILE, &few);
  EXPECT_EQ(error_of(processes.descriptor(::getpid(), STDERR_FILENO)), ENOBUFS);
  ::setrlimit(RLIMIT_NOFILE, &before);
  for (const pid_t child : children) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
}

TEST(ForeignMemory, is_read_and_written_whole_or_not_at_all) {
  std::string there = "memory";
  std::array<char, 6> here{};
  ASSERT_TRUE(read_memory(::getpid(), address_of(there.data()), here.data(), here.size()));
  EXPECT_EQ(std::string(here.data(), here.size()), "memory");
  ASSERT_TRUE(write_memory(::getpid(), address_of(there.data()), "MEM", 3));
  EXPECT_EQ(there, "MEMory");
  EXPECT_EQ(error_of(read_memory(::getpid(), 8, here.data(), here.size())), EFAULT);
  EXPECT_TRUE(read_memory(::getpid(), 0, here.data(), 0));  // nothing is always there
}

TEST(ForeignAccess, is_offered_another_method_where_descendants_may_be_looked_into) {
  const std::string instead = "shunt run --method ptrace …";
  EXPECT_EQ(foreign_access_fix("1\n", instead),
            "shunt run --method ptrace …, or sudo sysctl kernel.yama.ptrace_scope=0");
  EXPECT_EQ(foreign_access_fix("2\n", instead), "sudo sysctl kernel.yama.ptrace_scope=0");
  EXPECT_EQ(foreign_access_fix("3\n", instead).find("sysctl"), std::string::npos);
}

}  // namespace
}  // namespace shunt
