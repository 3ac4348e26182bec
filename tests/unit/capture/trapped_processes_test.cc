// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_processes.h"

#include <gtest/gtest.h>
#include <unistd.h>

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

}  // namespace
}  // namespace shunt
