// SPDX-License-Identifier: GPL-2.0-only
#include "capture/listeners.h"

#include <gtest/gtest.h>

#include <set>

#include "capture/reply_sockets.h"
#include "net/socket.h"

namespace shunt {
namespace {

#define SKIP_WITHOUT_NET_ADMIN(result)                                  \
  if (!(result) && (result).error().os_error == EPERM) {                \
    GTEST_SKIP() << "needs CAP_NET_ADMIN: " << (result).error().text(); \
  }                                                                     \
  ASSERT_TRUE(result) << (result).error().text()

TEST(Listeners, of_redirect_share_one_wildcard_port) {
  const auto listeners =
      make_listeners({.method = CaptureMethod::redirect, .workers = 3, .mark = 0, .udp = true});
  ASSERT_TRUE(listeners) << listeners.error().text();
  ASSERT_EQ(listeners->workers.size(), 3U);
  for (const auto& worker : listeners->workers) {
    ASSERT_EQ(worker.tcp.size(), 1U);
    EXPECT_TRUE(worker.udp.empty());  // REDIRECT cannot tell a datagram's destination
    const auto local = local_endpoint(worker.tcp.front().get());
    ASSERT_TRUE(local);
    EXPECT_TRUE(local->address.is_any());
    EXPECT_EQ(local->port, listeners->port);
  }
}

TEST(Listeners, of_tproxy_are_on_loopback_alone) {
  const auto listeners =
      make_listeners({.method = CaptureMethod::tproxy, .workers = 1, .mark = 0, .udp = true});
  SKIP_WITHOUT_NET_ADMIN(listeners);
  std::set<std::uint16_t> ports;
  for (const auto& worker : listeners->workers) {
    EXPECT_EQ(worker.tcp.size(), worker.udp.size());
    for (const auto* group : {&worker.tcp, &worker.udp}) {
      for (const auto& fd : *group) {
        const auto local = local_endpoint(fd.get());
        ASSERT_TRUE(local);
        EXPECT_TRUE(local->address.is_loopback());
        ports.insert(local->port);
      }
    }
  }
  EXPECT_EQ(ports, std::set<std::uint16_t>{listeners->port});
  EXPECT_EQ(listeners->own.size(), listeners->ipv6 ? 2U : 1U);
}

TEST(Listeners, of_tproxy_take_datagrams_at_a_port_for_each_worker) {
  const auto listeners = make_listeners({.workers = 3, .mark = 0, .udp = true, .udp_listeners = 2});
  SKIP_WITHOUT_NET_ADMIN(listeners);
  for (unsigned i = 0; i < 3; ++i) {
    const auto& worker = listeners->workers[i];
    EXPECT_EQ(worker.udp.size(), i < 2 ? worker.tcp.size() : 0U);
    for (const auto& fd : worker.udp) {
      EXPECT_EQ(local_endpoint(fd.get())->port, listeners->port + i);
    }
  }
  EXPECT_EQ(listeners->own.size(), listeners->ipv6 ? 4U : 2U);
}

TEST(ReplySockets, send_from_an_address_that_is_not_ours) {
  for (const char* text : {"192.0.2.53:53", "[2001:db8::53]:53"}) {
    const Endpoint source = *Endpoint::parse(text);
    const auto first = make_bound_reply_socket(source, 0);
    SKIP_WITHOUT_NET_ADMIN(first);
    const auto second = make_bound_reply_socket(source, 0);  // another worker's
    ASSERT_TRUE(second) << second.error().text();
    EXPECT_EQ(*local_endpoint(second->get()), source);
  }
}

TEST(ReplySockets, do_not_sit_on_an_address_of_this_machine) {
  const auto bound = make_bound_reply_socket(*Endpoint::parse("127.0.0.1:1053"), 0);
  ASSERT_FALSE(bound);
  EXPECT_EQ(bound.error().os_error, EADDRINUSE);
}

TEST(ReplySockets, come_raw_too) {
  for (const char* text : {"192.0.2.53", "2001:db8::53", "127.0.0.1"}) {
    const auto raw = make_raw_reply_socket(*Address::parse(text), 0);
    SKIP_WITHOUT_NET_ADMIN(raw);
  }
}

}  // namespace
}  // namespace shunt
