// SPDX-License-Identifier: GPL-2.0-only
#include "capture/plain_listeners.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/error_numbers.h"
#include "net/socket.h"

namespace shunt {
namespace {

using testing::HasSubstr;

PlainListener listener(const char* name, const char* address, const char* to = nullptr) {
  PlainListener out{.name = name, .addresses = {*Endpoint::parse(address)}};
  if (to != nullptr) out.to = Endpoint::parse(to);
  return out;
}

std::string mistake(const std::vector<PlainListener>& listeners) {
  const auto checked = check_plain_listeners(listeners);
  if (checked) return {};
  EXPECT_EQ(checked.error().number, error_number::kBadListener);
  EXPECT_EQ(checked.error().kind, Kind::configuration);
  return checked.error().message;
}

TEST(PlainListeners, need_a_destination_or_somebody_who_says_one) {
  EXPECT_THAT(mistake({listener("a", "192.0.2.1:80")}), HasSubstr("neither where"));
  PlainListener announced = listener("a", "192.0.2.1:80");
  announced.accept_proxy = {*Network::parse("10.0.0.0/8")};
  EXPECT_EQ(mistake({announced}), "");
  EXPECT_EQ(mistake({listener("a", "192.0.2.1:80", "198.51.100.1:80")}), "");
}

TEST(PlainListeners, may_not_lead_to_themselves) {
  EXPECT_THAT(mistake({listener("a", "192.0.2.1:80", "192.0.2.1:80")}), HasSubstr("a loop"));
  EXPECT_THAT(mistake({listener("a", "0.0.0.0:80", "127.0.0.1:80")}), HasSubstr("a loop"));
  EXPECT_THAT(mistake({listener("a", "192.0.2.1:80", "192.0.2.1:81"),
                       listener("b", "192.0.2.1:81", "198.51.100.1:80")}),
              HasSubstr("the listener \"b\""));
  EXPECT_EQ(mistake({listener("a", "192.0.2.1:80", "192.0.2.1:81")}), "");
}

TEST(PlainListeners, have_addresses_of_their_own) {
  EXPECT_THAT(mistake({listener("a", "192.0.2.1:80", "198.51.100.1:80"),
                       listener("b", "192.0.2.1:80", "198.51.100.1:80")}),
              HasSubstr("listened on twice"));
  PlainListener udp = listener("b", "192.0.2.1:80", "198.51.100.1:80");
  udp.tcp = false;
  udp.udp = true;
  EXPECT_EQ(mistake({listener("a", "192.0.2.1:80", "198.51.100.1:80"), udp}), "");
  EXPECT_THAT(mistake({listener("a", "192.0.2.1:0", "198.51.100.1:80")}), HasSubstr("port"));
  EXPECT_THAT(mistake({listener("a b", "192.0.2.1:80", "198.51.100.1:80")}), HasSubstr("a name"));
}

TEST(PlainListeners, lead_somewhere) {
  for (const char* to : {"0.0.0.0:80", "192.0.2.1:0", "224.0.0.1:80"}) {
    EXPECT_THAT(mistake({listener("a", "192.0.2.1:80", to)}), HasSubstr("no place")) << to;
  }
}

TEST(PlainListeners, want_a_header_from_the_networks_that_are_named) {
  PlainListener one = listener("a", "192.0.2.1:80");
  EXPECT_FALSE(one.wants_header(*Address::parse("10.1.2.3")));
  one.accept_proxy = {*Network::parse("10.0.0.0/8"), *Network::parse("2001:db8::/32")};
  EXPECT_TRUE(one.wants_header(*Address::parse("10.1.2.3")));
  EXPECT_TRUE(one.wants_header(*Address::parse("::ffff:10.1.2.3")));
  EXPECT_TRUE(one.wants_header(*Address::parse("2001:db8::1")));
  EXPECT_FALSE(one.wants_header(*Address::parse("11.1.2.3")));
}

TEST(PlainListeners, an_address_that_is_taken_is_a_conflict) {
  const auto probe = make_socket(Family::ipv4, SocketType::stream);
  ASSERT_TRUE(bind_to(probe->get(), {Address::loopback(Family::ipv4), 0}));
  const Endpoint address = *local_endpoint(probe->get());
  const PlainListener one{
      .name = "a", .addresses = {address}, .to = Endpoint::parse("192.0.2.1:1")};
  std::vector<ListenerSet> workers(3);
  // The probe is bound but does not listen, and has no SO_REUSEADDR: the address is taken.
  const auto opened = open_plain_listeners(std::span(&one, 1), workers, 0);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().number, error_number::kCannotListen);
  EXPECT_EQ(opened.error().kind, Kind::conflict);
  EXPECT_THAT(opened.error().help, HasSubstr(std::to_string(address.port)));
}

TEST(PlainListeners, share_an_address_among_workers_and_with_no_other_program) {
  auto other = make_socket(Family::ipv4, SocketType::stream);
  ASSERT_TRUE(set_option(other->get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"));
  ASSERT_TRUE(bind_to(other->get(), {Address::loopback(Family::ipv4), 0}));
  ASSERT_EQ(::listen(other->get(), 1), 0);
  const Endpoint address = *local_endpoint(other->get());
  const PlainListener one{
      .name = "a", .addresses = {address}, .to = Endpoint::parse("192.0.2.1:1")};
  std::vector<ListenerSet> workers(1);
  const auto opened = open_plain_listeners(std::span(&one, 1), workers, 0);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().os_error, EADDRINUSE);

  other->reset();
  workers = std::vector<ListenerSet>(3);
  ASSERT_TRUE(open_plain_listeners(std::span(&one, 1), workers, 0));
  for (const ListenerSet& worker : workers) {
    ASSERT_EQ(worker.plain_tcp.size(), 1U);
    EXPECT_EQ(local_endpoint(worker.plain_tcp.front().fd.get()), address);
    EXPECT_TRUE(worker.plain_udp.empty());
  }
}

TEST(PlainListeners, an_address_that_nobody_has_is_named) {
  PlainListener one = listener("web", "203.0.113.77:80", "192.0.2.1:1");
  one.addresses.front().port = 20'080;
  one.place = [](std::string_view key) { return "at " + std::string(key); };
  std::vector<ListenerSet> workers(1);
  const auto opened = open_plain_listeners(std::span(&one, 1), workers, 0);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().os_error, EADDRNOTAVAIL);
  EXPECT_EQ(opened.error().place, "at address");
  EXPECT_THAT(opened.error().message, HasSubstr("\"web\" cannot have 203.0.113.77:20080"));
}

TEST(PlainListeners, know_at_once_where_a_connection_goes_or_how_to_learn_it) {
  auto one = std::make_shared<PlainListener>(listener("web", "192.0.2.1:80", "198.51.100.1:80"));
  one->accept_proxy = {*Network::parse("10.0.0.0/8")};
  Captured plain{.flow = {.source = *Endpoint::parse("192.0.2.9:5"),
                          .original_destination = {},
                          .started = {}},
                 .client = {}};
  introduce(one, plain);
  EXPECT_EQ(plain.flow.method, CaptureMethod::listener);
  EXPECT_EQ(plain.flow.listener, "web");
  EXPECT_EQ(plain.flow.original_destination, *one->to);
  EXPECT_EQ(plain.introduction, nullptr);
  Captured announced{
      .flow = {.source = *Endpoint::parse("10.0.0.1:5"), .original_destination = {}, .started = {}},
      .client = {}};
  introduce(one, announced);
  EXPECT_NE(announced.introduction, nullptr);
}

}  // namespace
}  // namespace shunt
