// SPDX-License-Identifier: GPL-2.0-only
#include "capture/stand_ins.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/counters.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr std::uint16_t kPort = 4000;

Endpoint endpoint(const char* text) { return Endpoint::parse(text).value_or(Endpoint{}); }

TEST(StandIns, each_destination_has_one_of_its_own) {
  StandIns stand_ins(CaptureMethod::seccomp, kPort);
  const Endpoint dns = endpoint("203.0.113.1:53");
  const Endpoint same_host = endpoint("203.0.113.1:54");
  const Endpoint v6 = endpoint("[2001:db8::1]:53");
  EXPECT_FALSE(stand_ins.knows(dns));
  const Endpoint first = stand_ins.stand_in_for(dns);
  EXPECT_TRUE(stand_ins.knows(dns));
  EXPECT_EQ(stand_ins.stand_in_for(dns), first);
  const std::set<Endpoint> all{first, stand_ins.stand_in_for(same_host),
                               stand_ins.stand_in_for(v6)};
  EXPECT_EQ(all.size(), 3U);
  for (const Endpoint& one : all) {
    EXPECT_EQ(one.port, kPort);
    EXPECT_TRUE(one.address.is_loopback());
  }
  EXPECT_EQ(stand_ins.meant_by(first), dns);
  EXPECT_EQ(stand_ins.meant_by(stand_ins.stand_in_for(v6)), v6);
}

TEST(StandIns, an_address_that_stands_for_nothing_means_nothing) {
  StandIns stand_ins(CaptureMethod::seccomp, kPort);
  const Endpoint known = stand_ins.stand_in_for(endpoint("203.0.113.1:53"));
  EXPECT_FALSE(stand_ins.meant_by({.address = known.address, .port = kPort + 1}));
  for (const char* other : {"127.64.7.7:4000", "127.0.0.1:4000", "203.0.113.1:4000", "[::1]:4000",
                            "[2001:db8::1]:4000"}) {
    EXPECT_FALSE(stand_ins.meant_by(endpoint(other))) << other;
  }
}

// A socket may still be connected to the address of a destination that was forgotten.
TEST(StandIns, a_forgotten_address_is_nobody_elses) {
  StandIns stand_ins(CaptureMethod::seccomp, kPort, 2);
  const auto before = counted(Counter::stand_ins_forgotten);
  const Endpoint forgotten = stand_ins.stand_in_for(endpoint("203.0.113.1:1"));
  const Endpoint kept = stand_ins.stand_in_for(endpoint("203.0.113.1:2"));
  EXPECT_TRUE(stand_ins.meant_by(forgotten));
  EXPECT_TRUE(stand_ins.meant_by(kept));  // now the most recently used
  for (std::uint16_t port = 3; port < 100; ++port) {
    const Endpoint made = stand_ins.stand_in_for(endpoint("203.0.113.1:9"));
    EXPECT_NE(made, forgotten);
    EXPECT_TRUE(stand_ins.meant_by(kept));
    const Endpoint next = stand_ins.stand_in_for(
        {.address = Address::parse("203.0.113.2").value_or(Address{}), .port = port});
    EXPECT_NE(next, forgotten);
    EXPECT_NE(next, kept);
    EXPECT_TRUE(stand_ins.meant_by(kept));
  }
  EXPECT_FALSE(stand_ins.meant_by(forgotten));
  EXPECT_GT(counted(Counter::stand_ins_forgotten), before);
}

TEST(StandIns, who_is_not_captured_is_no_client) {
  StandIns stand_ins(CaptureMethod::seccomp, kPort);
  stand_ins.add_client(endpoint("127.0.0.1:5000"));
  EXPECT_TRUE(stand_ins.is_client(endpoint("127.0.0.1:5000")));
  EXPECT_FALSE(stand_ins.is_client(endpoint("127.0.0.1:5001")));
}

TEST(StandIns, the_listener_has_all_of_the_addresses) {
  StandIns stand_ins(CaptureMethod::seccomp);
  const auto listener = stand_ins.listen();
  ASSERT_TRUE(listener) << listener.error().text();
  ASSERT_NE(stand_ins.port(), 0);
  const Endpoint to = stand_ins.stand_in_for(endpoint("203.0.113.1:53"));
  const auto client = make_socket(Family::ipv4, SocketType::datagram);
  ASSERT_TRUE(client);
  const SocketAddress address(to);
  ASSERT_EQ(::sendto(client->get(), "x", 1, 0, address.get(), address.size()), 1);
  char byte = 0;
  EXPECT_EQ(::recv(listener->get(), &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'x');
}

}  // namespace
}  // namespace shunt
