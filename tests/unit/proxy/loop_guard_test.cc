// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/loop_guard.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace shunt {
namespace {

const Endpoint kOurs = *Endpoint::parse("127.0.0.1:40000");
const Endpoint kThere = *Endpoint::parse("192.0.2.7:80");

TEST(LoopGuard, knows_an_upstream_for_as_long_as_it_is_open) {
  LoopGuard guard;
  EXPECT_FALSE(guard.is_own(kOurs, kThere));
  guard.opening();
  guard.opened(kOurs, kThere);
  EXPECT_TRUE(guard.is_own(kOurs, kThere));
  EXPECT_FALSE(guard.is_own(*Endpoint::parse("192.0.2.1:40000"), kThere));
  guard.closed(kOurs, kThere);
  EXPECT_FALSE(guard.is_own(kOurs, kThere));
}

// connect() gives a port twice where the connections lead to different places.
TEST(LoopGuard, another_programs_connection_from_the_same_port_is_not_ours) {
  LoopGuard guard;
  guard.opening();
  guard.opened(kOurs, kThere);
  EXPECT_FALSE(guard.is_own(kOurs, *Endpoint::parse("192.0.2.7:81")));
  EXPECT_FALSE(guard.is_own(kOurs, *Endpoint::parse("192.0.2.8:80")));
  EXPECT_FALSE(guard.is_own(kThere, kOurs));
}

TEST(LoopGuard, a_connection_to_the_wildcard_is_one_to_loopback) {
  LoopGuard guard;
  guard.opening();
  guard.opened(kOurs, *Endpoint::parse("0.0.0.0:80"));
  EXPECT_TRUE(guard.is_own(kOurs, *Endpoint::parse("127.0.0.1:80")));
}

TEST(LoopGuard, knows_ten_thousand_at_once_and_forgets_them) {
  LoopGuard guard;
  const auto remote = [](std::uint16_t number) {
    return Endpoint{.address = kThere.address, .port = number, .scope_id = 0};
  };
  for (std::uint16_t number = 1; number <= 10'000; ++number) {
    guard.opening();
    guard.opened(kOurs, remote(number));
  }
  int known = 0;
  for (std::uint16_t number = 1; number <= 10'000; ++number) {
    known += guard.is_own(kOurs, remote(number)) ? 1 : 0;
    guard.closed(kOurs, remote(number));
  }
  EXPECT_GE(known, 9'990);
  EXPECT_FALSE(guard.is_own(kOurs, remote(1)));
  EXPECT_FALSE(guard.is_own(kOurs, remote(10'000)));
}

TEST(LoopGuard, waits_for_a_connect_that_is_under_way_on_another_thread) {
  LoopGuard guard;
  guard.opening();
  std::jthread dialling([&] {
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    guard.opened(kOurs, kThere);
  });
  // Waiting is bounded, so a preempted thread may still be missed: once in a few tries it is not.
  bool seen = guard.is_own(kOurs, kThere);
  for (int i = 0; i < 1000 && !seen; ++i) seen = guard.is_own(kOurs, kThere);
  EXPECT_TRUE(seen);
}

// The client may have the port that the kernel chose for us, towards the same server.
TEST(LoopGuard, a_kept_source_is_refused_the_third_time_it_comes_by) {
  const auto port = [](std::uint16_t number) {
    return Endpoint{.address = *Address::parse("192.168.77.2"), .port = number};
  };
  LoopGuard guard;
  guard.opening();
  guard.opened_for_client(port(2), kThere, port(1));
  EXPECT_FALSE(guard.is_own(port(2), kThere)) << "the client's own, or a first loop";
  guard.opening();
  guard.opened_for_client(port(3), kThere, port(2));
  EXPECT_FALSE(guard.is_own(port(3), kThere));
  guard.opening();
  guard.opened_for_client(port(4), kThere, port(3));
  EXPECT_TRUE(guard.is_own(port(4), kThere));
  EXPECT_FALSE(guard.is_own(port(1), kThere));
  guard.closed(port(4), kThere);
  EXPECT_FALSE(guard.is_own(port(4), kThere));
}

TEST(LoopGuard, a_client_whose_address_is_kept_never_waits) {
  const Endpoint client = *Endpoint::parse("192.168.77.2:40000");
  LoopGuard guard;
  guard.opening();
  guard.opened_for_client(client, kThere, *Endpoint::parse("192.168.77.2:50000"));
  EXPECT_FALSE(guard.is_own(client, kThere));
  guard.opening();  // and never over
  const auto begun = std::chrono::steady_clock::now();
  for (std::uint16_t port = 1000; port < 11'000; ++port) {
    EXPECT_FALSE(guard.is_own({.address = client.address, .port = port}, kThere));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(1));
  guard.closed(client, kThere);
  EXPECT_FALSE(guard.is_own(client, kThere));
}

TEST(LoopGuard, a_client_elsewhere_never_waits) {
  LoopGuard guard;
  guard.opening();  // and never over
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_FALSE(guard.is_own(*Endpoint::parse("203.0.113.9:40000"), kThere));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(1));
}

}  // namespace
}  // namespace shunt
