// SPDX-License-Identifier: GPL-2.0-only
// Flows to a name, whose original destination leads nowhere.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "egress/chain.h"
#include "egress/direct.h"
#include "egress/group.h"
#include "egress/http_connect.h"
#include "egress/proxy_protocol_out.h"
#include "egress/socks5.h"
#include "egress/way_out_spec.h"
#include "egress/wire/socks5.h"
#include "flow/name_resolver.h"
#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

using UdpResult = std::expected<UdpUpstream, ConnectFailure>;

/// Knows one name.
class Book : public NameResolver {
 public:
  explicit Book(std::vector<Endpoint> addresses) : addresses_(std::move(addresses)) {}
  bool can_resolve() const override { return !addresses_.empty(); }
  Task<std::expected<std::vector<Endpoint>, ConnectFailure>> resolve(
      const Flow& /*flow*/, const std::string& name) override {
    ++asked;
    EXPECT_EQ(name, "www.example");
    if (addresses_.empty()) {
      co_return std::unexpected(
          ConnectFailure{.reason = ConnectReason::host_unreachable, .os_error = 0, .detail = {}});
    }
    co_return addresses_;
  }
  int asked = 0;

 private:
  std::vector<Endpoint> addresses_;
};

Hints to_www(NameResolver& resolver) {
  return {.host = "www.example", .source = NameSource::fake_ip, .resolver = &resolver};
}

const Flow kFlow = flow_to(*Endpoint::parse("198.18.0.5:443"));

Endpoint refusing_address() {
  const auto fd = make_socket(Family::ipv4, SocketType::stream);
  EXPECT_TRUE(bind_to(fd->get(), {Address::loopback(Family::ipv4), 0}).has_value());
  return *local_endpoint(fd->get());
}

/// A listener whose backlog is full: it neither takes nor refuses another connection.
struct Silent {
  Silent() {
    fd = std::move(*make_socket(Family::ipv4, SocketType::stream));
    EXPECT_TRUE(bind_to(fd.get(), {Address::loopback(Family::ipv4), 0}).has_value());
    EXPECT_EQ(::listen(fd.get(), 0), 0);
    address = *local_endpoint(fd.get());
    const SocketAddress to(address);
    for (auto& filler : fillers) {
      filler = std::move(*make_socket(Family::ipv4, SocketType::stream));
      (void)::connect(filler.get(), to.get(), to.size());
    }
  }
  UniqueFd fd;
  UniqueFd fillers[4];
  Endpoint address;
};

TEST(ToName, whoever_dials_races_the_addresses_of_the_name) {
  const Silent silent;
  Stage stage;
  FakePeer peer(stage, {{}});
  Book book({silent.address, refusing_address(), peer.address()});
  const Hints hints = to_www(book);
  const auto direct = make_direct({});
  const auto start = Clock::now();
  const auto upstream =
      stage.run(direct->connect_to_name(stage.loop(), kFlow, hints), peer.serve());
  ASSERT_TRUE(upstream.has_value());
  EXPECT_EQ(peer_endpoint(upstream->socket.fd()).value(), peer.address());
  EXPECT_EQ(upstream->looked_up, peer.address());
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(2));  // a silent one costs ten
}

TEST(ToName, what_the_last_address_met_is_told) {
  Stage stage;
  Book book({refusing_address(), refusing_address()});
  const Hints hints = to_www(book);
  const auto upstream = stage.run(make_direct({})->connect_to_name(stage.loop(), kFlow, hints));
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::refused);
}

TEST(ToName, a_group_and_a_chain_pass_the_name_on) {
  Stage stage;
  FakePeer peer(stage, {{}});
  Book book({peer.address()});
  const Hints hints = to_www(book);
  const auto group =
      Group::create("eu", GroupKind::failover, {{.name = "paris", .way_out = make_direct({})}});
  const auto chain = make_chain("chain", group);
  const auto upstream = stage.run(chain->connect_to_name(stage.loop(), kFlow, hints), peer.serve());
  ASSERT_TRUE(upstream.has_value());
  EXPECT_EQ(upstream->looked_up, peer.address());
  EXPECT_EQ(book.asked, 1);
}

TEST(ToName, a_proxy_header_says_where_it_leads) {
  Stage stage;
  FakePeer peer(stage, {{expect("PROXY TCP4 127.0.0.1 127.0.0.1 4000 ")}});
  Book to_peer({peer.address()});
  const Hints hints = to_www(to_peer);
  const auto out = make_proxy_protocol_out(make_direct({}), proxy_protocol::Version::v1);
  Flow flow = kFlow;
  flow.source = *Endpoint::parse("127.0.0.1:4000");
  const auto upstream = stage.run(out->connect_to_name(stage.loop(), flow, hints), peer.serve());
  EXPECT_TRUE(upstream.has_value());
}

std::string connect_request(std::string_view domain, const Endpoint& endpoint) {
  return socks5::request(socks5::Command::connect, {.domain = domain, .endpoint = endpoint});
}

const std::string kGreeting = "\x05\x01\x00"s;
const std::string kChosen = "\x05\x00"s;
const std::string kGranted = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"s;

TEST(ToName, a_proxy_gets_the_name_where_nobody_can_look_it_up) {
  Stage stage;
  Book nobody({});
  const Hints hints = to_www(nobody);
  const std::string request = connect_request("www.example", kFlow.original_destination);
  FakePeer peer(stage, {{expect(kGreeting), say(kChosen), expect(request), say(kGranted)}});
  const auto out = make_socks5("socks5://proxy", {peer.address()}, {}, false, {});
  const auto upstream = stage.run(out->connect_to_name(stage.loop(), kFlow, hints), peer.serve());
  EXPECT_TRUE(upstream.has_value());
  EXPECT_EQ(nobody.asked, 0);
}

TEST(ToName, a_proxy_that_takes_names_leaves_nothing_to_look_up) {
  Stage stage;
  Book book({*Endpoint::parse("192.0.2.7:443")});
  const Hints hints = to_www(book);
  const std::string request = connect_request("www.example", kFlow.original_destination);
  FakePeer peer(stage, {{expect(kGreeting), say(kChosen), expect(request), say(kGranted)}});
  const auto out = make_socks5("socks5h://proxy", {peer.address()}, {}, true, {});
  const auto upstream = stage.run(out->connect_to_name(stage.loop(), kFlow, hints), peer.serve());
  EXPECT_TRUE(upstream.has_value());
  EXPECT_EQ(book.asked, 0);
}

/// A proxy of the configuration that says when its clients are let in.
std::shared_ptr<const WayOut> early_proxy(const Endpoint& address) {
  const std::vector<WayOutSpec> specs{
      {.name = "office", .proxy = "socks5://" + address.text(), .connect = ConnectMode::early}};
  const auto made = make_ways_out(specs, {});
  EXPECT_TRUE(made.has_value());
  return made->find("office");
}

TEST(ToName, a_way_out_that_says_when_clients_are_let_in_passes_the_name_on) {
  Stage stage;
  Book nobody({});
  const Hints hints = to_www(nobody);
  const std::string request = connect_request("www.example", kFlow.original_destination);
  FakePeer peer(stage, {{expect(kGreeting), say(kChosen), expect(request), say(kGranted)}});
  const auto out = early_proxy(peer.address());
  EXPECT_EQ(out->connect_mode(), ConnectMode::early);
  const auto upstream = stage.run(out->connect_to_name(stage.loop(), kFlow, hints), peer.serve());
  EXPECT_TRUE(upstream.has_value());
}

TEST(ToName, a_way_out_that_says_when_clients_are_let_in_can_be_greeted) {
  Stage stage;
  FakePeer peer(stage, {{expect(kGreeting), say(kChosen)}});
  const auto out = early_proxy(peer.address());
  const auto by = Clock::now() + std::chrono::seconds(5);
  EXPECT_TRUE(stage.run(out->greet(stage.loop(), by), peer.serve()).has_value());
}

TEST(ToName, a_proxy_that_takes_addresses_gets_one_after_the_other) {
  Stage stage;
  const Endpoint first = *Endpoint::parse("192.0.2.7:443");
  const Endpoint second = *Endpoint::parse("192.0.2.8:443");
  Book book({first, second});
  const Hints hints = to_www(book);
  FakePeer peer(stage, {{expect(kGreeting), say(kChosen), expect(connect_request("", first)),
                         say("\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"s)},
                        {expect(kGreeting), say(kChosen), expect(connect_request("", second)),
                         say(kGranted)}});
  const auto out = make_socks5("socks5://proxy", {peer.address()}, {}, false, {});
  const auto upstream = stage.run(out->connect_to_name(stage.loop(), kFlow, hints), peer.serve());
  ASSERT_TRUE(upstream.has_value());
  EXPECT_EQ(upstream->looked_up, second);
}

TEST(ToName, an_http_proxy_gets_the_name_where_nobody_can_look_it_up) {
  Stage stage;
  Book nobody({});
  const Hints hints = to_www(nobody);
  FakePeer peer(stage,
                {{expect("CONNECT www.example:443 HTTP/1.1\r\n"), say("HTTP/1.1 200 OK\r\n\r\n")}});
  const auto out = make_http_connect("http://proxy", {peer.address()}, {}, {});
  const auto upstream = stage.run(out->connect_to_name(stage.loop(), kFlow, hints), peer.serve());
  EXPECT_TRUE(upstream.has_value());
}

TEST(ToName, datagrams_go_to_the_proxy_under_the_name) {
  Stage stage;
  Book nobody({});
  const Hints hints = to_www(nobody);
  Flow flow = kFlow;
  flow.protocol = Protocol::udp;
  FakePeer peer(
      stage, {{expect(kGreeting), say(kChosen), expect("\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"s),
               say("\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34"s)}});
  const auto out = make_socks5("socks5://proxy", {peer.address()}, {}, false, {});
  const UdpResult upstream =
      stage.run(out->associate_to_name(stage.loop(), flow, hints), peer.serve());
  ASSERT_TRUE(upstream.has_value());
  EXPECT_EQ(upstream->header, "\0\0\0\x03\x0bwww.example\x01\xbb"s);
  // Whence it comes back only the proxy knows; the port is the destination's.
  const auto from = [](const char* source) { return socks5::udp_header(*Endpoint::parse(source)); };
  EXPECT_EQ(upstream->unwrap(*upstream, from("192.0.2.7:443") + "answer"), "answer");
  EXPECT_EQ(upstream->unwrap(*upstream, upstream->header + "answer"), "answer");
  EXPECT_EQ(upstream->unwrap(*upstream, from("192.0.2.7:444") + "answer"), std::nullopt);
}

TEST(ToName, datagrams_of_whoever_dials_need_the_address) {
  const auto server = make_socket(Family::ipv4, SocketType::datagram);
  ASSERT_TRUE(server && bind_to(server->get(), {Address::loopback(Family::ipv4), 0}));
  const Endpoint address = *local_endpoint(server->get());
  Flow flow = kFlow;
  flow.protocol = Protocol::udp;
  const auto direct = make_direct({});
  {
    Stage stage;
    Book book({address});
    const Hints hints = to_www(book);
    const UdpResult upstream = stage.run(direct->associate_to_name(stage.loop(), flow, hints));
    ASSERT_TRUE(upstream.has_value());
    EXPECT_EQ(peer_endpoint(upstream->socket.fd()).value(), address);
  }
  Stage stage;
  Book nobody({});
  const Hints hints = to_www(nobody);
  EXPECT_FALSE(stage.run(direct->associate_to_name(stage.loop(), flow, hints)).has_value());
}

}  // namespace
}  // namespace shunt
