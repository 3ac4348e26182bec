// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/udp_failure.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace shunt {
namespace {

TEST(UdpFailure, is_told_as_a_client_that_sent_directly_would_have_been) {
  EXPECT_EQ(undeliverable(ConnectReason::refused), Undeliverable::port);
  EXPECT_EQ(undeliverable(ConnectReason::rejected_by_rule), Undeliverable::port);
  EXPECT_EQ(undeliverable(ConnectReason::unsupported), Undeliverable::port);
  EXPECT_EQ(undeliverable(ConnectReason::host_unreachable), Undeliverable::host);
  EXPECT_EQ(undeliverable(ConnectReason::network_unreachable), Undeliverable::network);
  EXPECT_EQ(undeliverable(ConnectReason::denied), Undeliverable::prohibited);
}

TEST(UdpFailure, of_our_own_is_not_told) {
  for (const auto reason : {ConnectReason::loop, ConnectReason::dropped_by_rule,
                            ConnectReason::resources, ConnectReason::cancelled}) {
    EXPECT_EQ(undeliverable(reason), std::nullopt);
  }
}

TEST(UdpFailure, of_a_socket_is_the_icmp_error_behind_its_errno) {
  EXPECT_EQ(undeliverable_from_errno(ECONNREFUSED), Undeliverable::port);
  EXPECT_EQ(undeliverable_from_errno(EHOSTUNREACH), Undeliverable::host);
  EXPECT_EQ(undeliverable_from_errno(ENETUNREACH), Undeliverable::network);
  EXPECT_EQ(undeliverable_from_errno(EACCES), Undeliverable::prohibited);
  EXPECT_EQ(undeliverable_from_errno(EMSGSIZE), Undeliverable::too_big);
  EXPECT_EQ(undeliverable_from_errno(EAGAIN), std::nullopt);
}

TEST(UdpFailure, is_for_good_only_where_asking_again_cannot_help) {
  EXPECT_TRUE(is_permanent(ConnectReason::unsupported));
  EXPECT_TRUE(is_permanent(ConnectReason::dropped_by_rule));
  EXPECT_FALSE(is_permanent(ConnectReason::refused));
  EXPECT_FALSE(is_permanent(ConnectReason::timed_out));
}

TEST(UdpFailure, is_counted_by_who_refused) {
  EXPECT_EQ(counter_of_refusal(ConnectReason::rejected_by_rule), Counter::flows_rejected);
  EXPECT_EQ(counter_of_refusal(ConnectReason::dropped_by_rule), Counter::flows_dropped);
  EXPECT_EQ(counter_of_refusal(ConnectReason::timed_out), Counter::flows_refused);
}

}  // namespace
}  // namespace shunt
