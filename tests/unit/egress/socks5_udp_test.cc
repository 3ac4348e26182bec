// SPDX-License-Identifier: GPL-2.0-only
#include <poll.h>

#include "egress/group.h"
#include "egress/socks5.h"
#include "egress/wire/socks5.h"
#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

using UdpResult = std::expected<UdpUpstream, ConnectFailure>;

const Flow kFlow = flow_to(*Endpoint::parse("192.0.2.7:53"), Protocol::udp);
const std::string kRequest = "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"s;
const std::string kHeader = socks5::udp_header(kFlow.original_destination);

std::string reply_naming(const Endpoint& relay) {
  std::string reply = socks5::request(socks5::Command::connect, {.domain = {}, .endpoint = relay});
  reply[1] = 0;
  return reply;
}

/// A relay's UDP socket on loopback.
struct Relay {
  Relay() {
    socket = std::move(*make_socket(Family::ipv4, SocketType::datagram));
    (void)bind_to(socket.get(), {Address::loopback(Family::ipv4), 0});
    address = *local_endpoint(socket.get());
  }
  std::string receive(sockaddr_storage& from, socklen_t& size) const {
    pollfd ready{.fd = socket.get(), .events = POLLIN, .revents = 0};
    ::poll(&ready, 1, kPatienceMs);
    char buffer[2048];
    const auto count = ::recvfrom(socket.get(), buffer, sizeof buffer, 0,
                                  reinterpret_cast<sockaddr*>(&from), &size);
    return {buffer, count > 0 ? static_cast<std::size_t>(count) : 0};
  }
  UniqueFd socket;
  Endpoint address;
};

class Socks5Udp : public testing::Test {
 protected:
  UdpResult associate(Script script) {
    peer_.reset();
    stage_.emplace();
    peer_.emplace(*stage_, std::vector<Script>{std::move(script)});
    out_ = make_socks5("socks5://proxy", {peer_->address()}, {}, false, {});
    return stage_->run(out_->associate(stage_->loop(), kFlow), peer_->serve());
  }
  UdpResult associate_with(const std::string& reply) {
    return associate({expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest), say(reply)});
  }

  std::optional<Stage> stage_;  // a loop that has stopped does not run again
  Relay relay_;
  std::optional<FakePeer> peer_;
  std::shared_ptr<const WayOut> out_;
};

TEST_F(Socks5Udp, datagrams_go_to_the_relay_and_back) {
  const auto upstream = associate_with(reply_naming(relay_.address));
  ASSERT_TRUE(upstream.has_value());
  EXPECT_EQ(upstream->header, kHeader);
  ASSERT_EQ(upstream->controls.size(), 1U);
  EXPECT_FALSE(
      upstream->controls[0].socket.slot().has(Slot::kReadable));  // who waits for its end, waits
  const std::string query = upstream->header + "query";
  ::send(upstream->socket.fd(), query.data(), query.size(), 0);
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  EXPECT_EQ(relay_.receive(from, size), query);
  EXPECT_EQ(upstream->unwrap(*upstream, kHeader + "answer"), "answer");
}

TEST_F(Socks5Udp, an_unspecified_relay_address_is_the_proxys) {
  const Endpoint unspecified{.address = Address(), .port = relay_.address.port};
  const auto upstream = associate_with(reply_naming(unspecified));
  ASSERT_TRUE(upstream.has_value());
  EXPECT_EQ(peer_endpoint(upstream->socket.fd()).value(), relay_.address);
}

TEST_F(Socks5Udp, takes_only_whole_datagrams_from_the_destination) {
  const auto upstream = associate_with(reply_naming(relay_.address));
  ASSERT_TRUE(upstream.has_value());
  const auto unwrap = [&upstream](const std::string& datagram) {
    return upstream->unwrap(*upstream, datagram);
  };
  EXPECT_EQ(unwrap("\xff\xff"s + kHeader.substr(2) + "reserved bytes count for nothing"),
            "reserved bytes count for nothing");
  const std::string mapped = "\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x07\x00\x35"s;
  EXPECT_EQ(unwrap(mapped + "x"), "x");
  EXPECT_EQ(unwrap(""), std::nullopt);
  EXPECT_EQ(unwrap(kHeader.substr(0, 9)), std::nullopt);
  EXPECT_EQ(unwrap("\0\0\x01"s + kHeader.substr(3) + "fragment"), std::nullopt);
  EXPECT_EQ(unwrap(socks5::udp_header(*Endpoint::parse("192.0.2.8:53")) + "x"), std::nullopt);
  EXPECT_EQ(unwrap(socks5::udp_header(*Endpoint::parse("192.0.2.7:54")) + "x"), std::nullopt);
  EXPECT_EQ(unwrap("\0\0\0\x03\x01"s + "a" + "\x00\x35x"s), std::nullopt);
  EXPECT_EQ(unwrap(kHeader), "");
}

TEST_F(Socks5Udp, one_association_serves_every_destination) {
  stage_.emplace();
  peer_.emplace(*stage_,
                std::vector<Script>{{expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest),
                                     say(reply_naming(relay_.address))}});
  out_ = make_socks5("socks5://proxy", {peer_->address()}, {}, false, {});
  const auto mapping = stage_->run(out_->open_mapping(stage_->loop(), kFlow), peer_->serve());
  ASSERT_TRUE(mapping.has_value());
  ASSERT_NE(mapping->relaying, nullptr);
  for (const char* text : {"192.0.2.7:53", "198.51.100.9:4433", "[2001:db8::7]:9"}) {
    const Endpoint peer = *Endpoint::parse(text);
    const std::string header = mapping->relaying->header(*mapping, peer);
    EXPECT_EQ(header, socks5::udp_header(peer));
    const std::string datagram = header + "answer";
    const auto received = mapping->relaying->unwrap(*mapping, datagram);
    ASSERT_TRUE(received.has_value());
    EXPECT_EQ(received->peer, peer);
    EXPECT_EQ(received->payload, "answer");
  }
  const auto refused = [&](const std::string& datagram) {
    return !mapping->relaying->unwrap(*mapping, datagram).has_value();
  };
  EXPECT_TRUE(refused(""));
  EXPECT_TRUE(refused("\0\0\x01"s + kHeader.substr(3) + "fragment"));
  EXPECT_TRUE(refused("\0\0\0\x03\x01"s + "a" + "\x00\x35x"s)) << "a name is no peer";
}

Task<bool> control_tells_the_end(EventLoop& loop, const WayOut& out) {
  auto upstream = co_await out.associate(loop, kFlow);
  if (!upstream) co_return false;
  const Wake wake = co_await loop.readable(upstream->controls[0].socket.slot(), kPatienceMs);
  co_return wake == Wake::ready && upstream->controls[0].socket.slot().has(Slot::kPeerClosed);
}

TEST_F(Socks5Udp, ends_with_its_control_connection) {
  Stage stage;
  FakePeer peer(stage, {{expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest),
                         say(reply_naming(relay_.address)), turn(), hang_up()}});
  const auto out = make_socks5("socks5://proxy", {peer.address()}, {}, false, {});
  EXPECT_TRUE(stage.run(control_tells_the_end(stage.loop(), *out), peer.serve()));
}

TEST_F(Socks5Udp, refuses_impossible_relays) {
  for (const char* relay : {"192.0.2.1:0", "224.0.0.1:9", "[ff02::1]:9"}) {
    const auto upstream = associate_with(reply_naming(*Endpoint::parse(relay)));
    ASSERT_FALSE(upstream.has_value()) << relay;
    EXPECT_EQ(upstream.error().reason, ConnectReason::proxy_error);
  }
}

TEST_F(Socks5Udp, says_that_the_proxy_carries_no_udp) {
  const auto upstream = associate_with("\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"s);
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::unsupported);
}

const Endpoint kInner = *Endpoint::parse("198.51.100.9:1080");
const Endpoint kInnerRelay = *Endpoint::parse("198.51.100.9:4242");
const std::string kConnect =
    socks5::request(socks5::Command::connect, {.domain = {}, .endpoint = kInner});
const std::string kGranted = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"s;

/// What the outer proxy hears of the inner one's control connection.
Script inner_control(const std::string& reply) {
  return {expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kConnect), say(kGranted),
          expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest), say(reply)};
}

std::shared_ptr<const WayOut> behind(std::shared_ptr<const WayOut> outer) {
  auto server = std::make_shared<ProxyServer>("socks5://inner", std::vector{kInner}, std::nullopt,
                                              UpstreamOptions{});
  server->through = std::move(outer);
  return make_socks5(std::move(server), false);
}

class Socks5UdpChain : public testing::Test {
 protected:
  UdpResult associate(Script first, Script second) {
    peer_.emplace(stage_, std::vector<Script>{std::move(first), std::move(second)});
    const auto outer = make_socks5("socks5://outer", {peer_->address()}, {}, false, {});
    return stage_.run(behind(outer)->associate(stage_.loop(), kFlow), peer_->serve());
  }
  Script outer_association() const {
    return {expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest),
            say(reply_naming(relay_.address))};
  }

  Stage stage_;
  Relay relay_;
  std::optional<FakePeer> peer_;
};

TEST_F(Socks5UdpChain, each_datagram_bears_the_headers_of_both_relays) {
  const auto upstream = associate(inner_control(reply_naming(kInnerRelay)), outer_association());
  ASSERT_TRUE(upstream.has_value()) << upstream.error().detail;
  EXPECT_EQ(upstream->controls.size(), 2U);
  EXPECT_EQ(upstream->header, socks5::udp_header(kInnerRelay) + kHeader);
  EXPECT_EQ(peer_endpoint(upstream->socket.fd()).value(), relay_.address);
}

TEST_F(Socks5UdpChain, takes_only_what_came_from_the_destination_by_the_inner_relay) {
  const auto upstream = associate(inner_control(reply_naming(kInnerRelay)), outer_association());
  ASSERT_TRUE(upstream.has_value()) << upstream.error().detail;
  const auto unwrap = [&upstream](const std::string& datagram) {
    return upstream->unwrap(*upstream, datagram);
  };
  const std::string outer = socks5::udp_header(kInnerRelay);
  const std::string reserved = "\xff\xff"s;
  EXPECT_EQ(unwrap(outer + kHeader + "answer"), "answer");
  EXPECT_EQ(unwrap(reserved + outer.substr(2) + reserved + kHeader.substr(2) + "x"), "x");
  EXPECT_EQ(unwrap(outer + socks5::udp_header(*Endpoint::parse("192.0.2.8:53")) + "x"),
            std::nullopt);
  EXPECT_EQ(unwrap(socks5::udp_header(*Endpoint::parse("198.51.100.9:4243")) + kHeader + "x"),
            std::nullopt);
  EXPECT_EQ(unwrap(kHeader + "past the inner relay"), std::nullopt);
  EXPECT_EQ(unwrap(outer), std::nullopt);
}

TEST_F(Socks5UdpChain, an_open_relay_address_is_the_inner_proxys) {
  const Endpoint open{.address = Address(), .port = 4242};
  const auto upstream = associate(inner_control(reply_naming(open)), outer_association());
  ASSERT_TRUE(upstream.has_value()) << upstream.error().detail;
  EXPECT_EQ(upstream->header, socks5::udp_header(kInnerRelay) + kHeader);
}

TEST_F(Socks5UdpChain, an_outer_proxy_without_udp_is_named) {
  const auto upstream = associate(inner_control(reply_naming(kInnerRelay)),
                                  {expect("\x05\x01\x00"s), say("\x05\x00"s), expect(kRequest),
                                   say("\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00"s)});
  ASSERT_FALSE(upstream.has_value());
  EXPECT_EQ(upstream.error().reason, ConnectReason::unsupported);
  EXPECT_EQ(upstream.error().detail,
            "socks5://inner cannot be sent datagrams: SOCKS5 reply 7: command not supported");
}

TEST_F(Socks5UdpChain, a_group_carries_the_datagrams_by_the_member_that_made_the_connection) {
  peer_.emplace(stage_,
                std::vector<Script>{inner_control(reply_naming(kInnerRelay)), outer_association()});
  FakePeer other(stage_, {});
  // Round robin: the next flow would begin with the other member.
  const auto group =
      Group::create("eu", GroupKind::round_robin,
                    {{"paris", make_socks5("socks5://paris", {peer_->address()}, {}, false, {})},
                     {"rome", make_socks5("socks5://rome", {other.address()}, {}, false, {})}});
  const auto upstream = stage_.run(behind(group)->associate(stage_.loop(), kFlow), peer_->serve());
  ASSERT_TRUE(upstream.has_value()) << upstream.error().detail;
  EXPECT_EQ(peer_->connections(), 2U);
  EXPECT_EQ(upstream->via, "");
}

}  // namespace
}  // namespace shunt
