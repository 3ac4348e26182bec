// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_processes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "net/unique_fd.h"

namespace shunt {
namespace {

TEST(TrappedProcesses, a_flow_is_whose_socket_it_came_from) {
  TrappedProcesses processes;
  const Endpoint source{.address = Address::loopback(Family::ipv4), .port = 4000};
  processes.note(Protocol::tcp, source, ::getpid());
  Flow flow;
  flow.source = source;
  const auto found = processes.lookup(flow);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pid, ::getpid());
  EXPECT_EQ(found->name, "capture_test");
  EXPECT_EQ(processes.find(flow, ProcessFinder::Wanted::all).state, FactState::known);
  flow.protocol = Protocol::udp;
  EXPECT_FALSE(processes.lookup(flow));
  EXPECT_EQ(processes.find(flow, ProcessFinder::Wanted::all).state, FactState::never);
}

TEST(TrappedProcesses, is_who_called_whatever_has_become_of_it) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    char byte = 0;
    writer.reset();
    ::_exit(::read(reader.get(), &byte, 1) == 0 ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  TrappedProcesses processes;
  Flow flow;
  flow.source = {.address = Address::loopback(Family::ipv4), .port = 4000};
  processes.note(Protocol::tcp, flow.source, child);
  writer.reset();
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const auto found = processes.find(flow, ProcessFinder::Wanted::all);
  EXPECT_EQ(found.state, FactState::known);
  EXPECT_EQ(found.name, "capture_test");
  EXPECT_EQ(found.uid, ::geteuid());
  const auto shown = processes.lookup(flow);
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->pid, child);
}

TEST(TrappedProcesses, a_threads_calls_are_its_processs) {
  TrappedProcesses processes;
  Flow flow;
  flow.source = {.address = Address::loopback(Family::ipv4), .port = 4000};
  std::thread thread([&processes, &flow] {
    ::pthread_setname_np(::pthread_self(), "another");
    processes.note(Protocol::tcp, flow.source, static_cast<pid_t>(::syscall(SYS_gettid)));
  });
  thread.join();
  const auto found = processes.lookup(flow);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pid, ::getpid());
  EXPECT_EQ(found->name, "capture_test");
}

}  // namespace
}  // namespace shunt
