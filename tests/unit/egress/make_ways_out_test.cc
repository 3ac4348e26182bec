// SPDX-License-Identifier: GPL-2.0-only
// What ways out do that are made of a configuration.
#include <net/if.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error_numbers.h"
#include "egress/way_out_spec.h"
#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

const Flow kFlow = flow_to(*Endpoint::parse("192.0.2.7:80"));
const std::string kSocksGreeting = "\x05\x01\x00"s;
const std::string kSocksChosen = "\x05\x00"s;
const std::string kSocksGranted = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"s;
const std::string kSocksRequest = "\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50"s;

std::string socks_request(const Endpoint& to) {
  return "\x05\x01\x00\x01"s + std::string(to.address.bytes()) + static_cast<char>(to.port >> 8) +
         static_cast<char>(to.port & 0xff);
}

std::string connect_head(const std::string& authority) {
  return "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n\r\n";
}

TEST(MakeWaysOut, direct_is_always_there) {
  const auto made = make_ways_out({}, {});
  ASSERT_TRUE(made.has_value());
  ASSERT_NE(made->find("direct"), nullptr);
  EXPECT_EQ(made->find("direct")->name(), "direct");
  EXPECT_EQ(made->find("wan2"), nullptr);
}

/// The ways out of `specs`, and one connection through `name`.
std::expected<Upstream, ConnectFailure> connect_by(Stage& stage,
                                                   const std::vector<WayOutSpec>& specs,
                                                   std::string_view name, Task<> peers,
                                                   const Hints& hints = {}) {
  auto made = make_ways_out(specs, {});
  EXPECT_TRUE(made.has_value()) << made.error().text();
  auto result = stage.run(made->find(name)->connect(stage.loop(), kFlow, hints), std::move(peers));
  if (result) {
    result->socket.reset();
    result->via = {};  // it goes with the ways out
  }
  return result;
}

/// What the server says at once, or why there was no connection.
std::string first_words_by(Stage& stage, const std::vector<WayOutSpec>& specs,
                           std::string_view name, Task<> peers) {
  auto upstream = connect_by(stage, specs, name, std::move(peers));
  return upstream ? upstream->early_data : upstream.error().detail;
}

TEST(MakeWaysOut, a_chain_asks_each_hop_for_the_next) {
  Stage stage;
  const Endpoint far = *Endpoint::parse("198.51.100.9:3128");
  FakePeer first(stage, {{expect(kSocksGreeting), say(kSocksChosen), expect(socks_request(far)),
                          say(kSocksGranted), expect(connect_head("192.0.2.7:80")),
                          say("HTTP/1.1 200 OK\r\n\r\n220 ready")}});
  const std::vector<WayOutSpec> specs{
      {.name = "near", .proxy = "socks5://" + first.address().text()},
      {.name = "far", .proxy = "http://198.51.100.9:3128", .via = {"near"}},
      {.name = "both", .via = {"near", "far2"}},
      {.name = "far2", .proxy = "http://198.51.100.9:3128"}};
  EXPECT_EQ(first_words_by(stage, specs, "far", first.serve()), "220 ready");
}

// The answer of the first hop and that of the second may share a segment.
TEST(MakeWaysOut, what_a_hop_sends_ahead_belongs_to_the_next) {
  Stage stage;
  FakePeer first(stage,
                 {{expect(connect_head("198.51.100.9:1080")),
                   say("HTTP/1.1 200 OK\r\n\r\n" + kSocksChosen + kSocksGranted + "220 ready"),
                   expect(kSocksGreeting + kSocksRequest)}});
  const std::vector<WayOutSpec> specs{{.name = "both", .via = {"near", "far"}},
                                      {.name = "near", .proxy = "http://" + first.address().text()},
                                      {.name = "far", .proxy = "socks5://198.51.100.9:1080"}};
  EXPECT_EQ(first_words_by(stage, specs, "both", first.serve()), "220 ready");
}

TEST(MakeWaysOut, a_hop_that_resolves_is_given_the_next_ones_name) {
  Stage stage;
  FakePeer first(stage,
                 {{expect(kSocksGreeting), say(kSocksChosen),
                   expect("\x05\x01\x00\x03\x13inner.shunt.invalid\x0c\x38"s), say(kSocksGranted),
                   expect(connect_head("192.0.2.7:80")), say("HTTP/1.1 200 OK\r\n\r\n")}});
  const std::vector<WayOutSpec> specs{
      {.name = "near", .proxy = "socks5h://" + first.address().text()},
      {.name = "far", .proxy = "http://inner.shunt.invalid:3128", .via = {"near"}}};
  EXPECT_TRUE(connect_by(stage, specs, "far", first.serve()).has_value());
}

// Nor does this machine look the name up where the hop stands behind a hop of its own, or where all
// members of a group resolve.
TEST(MakeWaysOut, whoever_dials_last_resolves_the_next_ones_name) {
  const std::string resolving = "socks5h://127.0.0.1:1080";
  const std::vector<WayOutSpec> specs{
      {.name = "near", .proxy = "socks5://127.0.0.1:1081"},
      {.name = "behind", .proxy = resolving, .via = {"near"}},
      {.name = "chain", .via = {"near", "behind"}},
      {.name = "group", .group = GroupKind::failover, .members = {"behind", "chain"}},
      {.name = "a", .proxy = "http://inner.shunt.invalid", .via = {"behind"}},
      {.name = "b", .proxy = "http://inner.shunt.invalid", .via = {"chain"}},
      {.name = "c", .proxy = "http://inner.shunt.invalid", .via = {"group"}}};
  const auto made = make_ways_out(specs, {});
  EXPECT_TRUE(made.has_value()) << made.error().text();
  auto mixed = specs;
  mixed[3].members.emplace_back("near");
  EXPECT_FALSE(make_ways_out(mixed, {}).has_value());
}

TEST(MakeWaysOut, a_group_within_a_chain_is_checked_as_well) {
  const std::vector<WayOutSpec> specs{{.name = "near", .proxy = "socks5://127.0.0.1:1080"},
                                      {.name = "far", .proxy = "socks5://127.0.0.1:1081"},
                                      {.name = "eu",
                                       .group = GroupKind::failover,
                                       .members = {"far"},
                                       .check = CheckSpec{.target = "tcp://192.0.2.1:443"}},
                                      {.name = "chain", .via = {"near", "eu"}}};
  const auto made = make_ways_out(specs, {});
  ASSERT_TRUE(made.has_value()) << made.error().text();
  EXPECT_EQ(made->groups.size(), 2U);
  for (const auto& group : made->groups) EXPECT_TRUE(group->check().has_value());
}

TEST(MakeWaysOut, a_chain_carries_datagrams_where_every_hop_does) {
  const auto version = proxy_protocol::Version::v2;
  const auto made = make_ways_out(
      std::vector<WayOutSpec>{
          {.name = "near", .proxy = "socks5://127.0.0.1:1080"},
          {.name = "web", .proxy = "http://127.0.0.1:1080"},
          {.name = "four", .proxy = "socks4a://127.0.0.1:1080"},
          {.name = "told", .proxy = "socks5://127.0.0.1:1080", .proxy_protocol = version},
          {.name = "both", .group = GroupKind::failover, .members = {"near", "behind"}},
          {.name = "mixed", .group = GroupKind::failover, .members = {"near", "web"}},
          {.name = "far", .proxy = "socks5://127.0.0.1:1081", .via = {"near"}},
          {.name = "third", .proxy = "socks5://127.0.0.1:1082", .via = {"near", "far"}},
          {.name = "alone", .via = {"near", "far"}},
          {.name = "over-web", .proxy = "socks5://127.0.0.1:1081", .via = {"web"}},
          {.name = "over-four", .proxy = "socks5://127.0.0.1:1081", .via = {"near", "four"}},
          {.name = "over-told", .proxy = "socks5://127.0.0.1:1081", .via = {"told"}},
          {.name = "over-both", .proxy = "socks5://127.0.0.1:1081", .via = {"both"}},
          {.name = "over-mixed", .proxy = "socks5://127.0.0.1:1081", .via = {"mixed"}},
          {.name = "to-web", .proxy = "http://127.0.0.1:1081", .via = {"near"}},
          {.name = "bound", .interface = "lo"},
          {.name = "behind", .proxy = "socks5://127.0.0.1:1081", .via = {"bound"}}},
      {});
  ASSERT_TRUE(made.has_value()) << made.error().text();
  for (const char* name : {"near", "far", "third", "alone", "over-both", "behind", "mixed"}) {
    EXPECT_TRUE(made->find(name)->carries_udp()) << name;
  }
  for (const char* name : {"over-web", "over-four", "over-told", "over-mixed", "to-web"}) {
    EXPECT_FALSE(made->find(name)->carries_udp()) << name;
  }
}

TEST(MakeWaysOut, resolve_sends_the_name_to_the_proxy) {
  Stage stage;
  FakePeer peer(stage,
                {{expect(connect_head("www.shunt.example:80")), say("HTTP/1.1 200 OK\r\n\r\n")}});
  const std::vector<WayOutSpec> specs{
      {.name = "a", .proxy = "http://" + peer.address().text(), .resolve = true}};
  EXPECT_TRUE(connect_by(stage, specs, "a", peer.serve(),
                         {.host = "www.shunt.example", .source = NameSource::http_host})
                  .has_value());
}

TEST(MakeWaysOut, a_credential_comes_from_systemds_directory) {
  const auto directory =
      std::filesystem::temp_directory_path() / ("shunt-credentials-" + std::to_string(::getpid()));
  std::filesystem::create_directory(directory);
  std::ofstream(directory / "office") << "open-sesame\n";
  Stage stage;
  FakePeer peer(stage, {{expect("\x05\x02\x00\x02"s), say("\x05\x02"s),
                         expect("\x01\x05"
                                "alice\x0bopen-sesame"s),
                         say("\x01\x00"s), expect(kSocksRequest), say(kSocksGranted)}});
  const std::vector<WayOutSpec> specs{{.name = "a",
                                       .proxy = "socks5://" + peer.address().text(),
                                       .user = "alice",
                                       .credential = "office"}};
  ::setenv("CREDENTIALS_DIRECTORY", directory.c_str(), 1);
  EXPECT_TRUE(connect_by(stage, specs, "a", peer.serve()).has_value());
  ::unsetenv("CREDENTIALS_DIRECTORY");
  std::filesystem::remove_all(directory);
  EXPECT_EQ(make_ways_out(specs, {}).error().number, error_number::kPasswordFile);
  auto outside = specs;
  outside[0].credential = "../passwd";
  EXPECT_EQ(make_ways_out(outside, {}).error().number, error_number::kPasswordFile);
}

TEST(MakeWaysOut, the_proxy_header_goes_before_the_first_byte) {
  Stage stage;
  FakePeer peer(
      stage, {{expect(kSocksGreeting), say(kSocksChosen), expect(kSocksRequest), say(kSocksGranted),
               expect("PROXY TCP4 192.0.2.10 192.0.2.7 40000 80\r\n")}});
  const std::vector<WayOutSpec> specs{{.name = "a",
                                       .proxy = "socks5://" + peer.address().text(),
                                       .proxy_protocol = proxy_protocol::Version::v1}};
  EXPECT_TRUE(connect_by(stage, specs, "a", peer.serve()).has_value());
}

TEST(MakeWaysOut, the_proxy_header_of_a_health_check_names_no_client) {
  Stage stage;
  FakePeer peer(stage, {{expect(kSocksGreeting), say(kSocksChosen), expect(kSocksRequest),
                         say(kSocksGranted), expect("PROXY UNKNOWN\r\n")}});
  const auto made =
      make_ways_out(std::vector<WayOutSpec>{{.name = "a",
                                             .proxy = "socks5://" + peer.address().text(),
                                             .proxy_protocol = proxy_protocol::Version::v1}},
                    {});
  ASSERT_TRUE(made.has_value());
  Flow check = kFlow;
  check.source = {};
  auto upstream = stage.run(made->find("a")->connect(stage.loop(), check, {}), peer.serve());
  ASSERT_TRUE(upstream.has_value());
  upstream->socket.reset();
}

TEST(MakeWaysOut, datagrams_carry_a_header_each) {
  Stage stage;
  auto made = make_ways_out(
      std::vector<WayOutSpec>{{.name = "two", .proxy_protocol = proxy_protocol::Version::v2},
                              {.name = "one", .proxy_protocol = proxy_protocol::Version::v1}},
      {});
  ASSERT_TRUE(made.has_value());
  EXPECT_FALSE(made->find("one")->carries_udp());
  ASSERT_TRUE(made->find("two")->carries_udp());
  const Flow flow = flow_to(*Endpoint::parse("127.0.0.1:53"), Protocol::udp);
  auto upstream = stage.run(made->find("two")->associate(stage.loop(), flow));
  ASSERT_TRUE(upstream.has_value());
  const auto header = proxy_protocol::decode(upstream->header);
  ASSERT_TRUE(header.complete());
  EXPECT_EQ(header.size, upstream->header.size());
  EXPECT_EQ(header.value.protocol, Protocol::udp);
  EXPECT_EQ(header.value.source, flow.source);
  EXPECT_EQ(header.value.destination, flow.original_destination);
  EXPECT_EQ(upstream->unwrap(*upstream, "answer"), "answer");
  upstream->socket.reset();
}

/// What a socket of a way out is bound to.
std::string bound_by(const WayOutSpec& spec, ConnectFailure* failure = nullptr,
                     const char* destination = "127.0.0.1:9") {
  Stage stage;
  auto made = make_ways_out(std::vector{spec}, {});
  EXPECT_TRUE(made.has_value());
  const Flow flow = flow_to(*Endpoint::parse(destination), Protocol::udp);
  auto upstream = stage.run(made->find(spec.name)->associate(stage.loop(), flow));
  if (!upstream) {
    if (failure != nullptr) *failure = upstream.error();
    return "failed";
  }
  char device[IFNAMSIZ] = "";
  socklen_t size = sizeof device;
  ::getsockopt(upstream->socket.fd(), SOL_SOCKET, SO_BINDTODEVICE, device, &size);
  const auto local = local_endpoint(upstream->socket.fd());
  upstream->socket.reset();
  return std::string(device) + " " + (local ? local->address.text() : "");
}

TEST(MakeWaysOut, sockets_leave_by_the_interface_and_from_the_source) {
  EXPECT_EQ(bound_by({.name = "a", .interface = "lo"}), "lo 127.0.0.1");
  EXPECT_EQ(bound_by({.name = "a", .source = {*Address::parse("127.0.0.9")}}), " 127.0.0.9");
}

TEST(MakeWaysOut, what_cannot_leave_as_configured_does_not_leave) {
  ConnectFailure failure;
  EXPECT_EQ(bound_by({.name = "a", .interface = "nosuch0"}, &failure), "failed");
  EXPECT_EQ(failure.reason, ConnectReason::network_unreachable);
  EXPECT_EQ(failure.detail, "interface nosuch0: No such device");
  const WayOutSpec v4_only{.name = "a", .source = {*Address::parse("127.0.0.9")}};
  EXPECT_EQ(bound_by(v4_only, &failure, "[::1]:9"), "failed");
  EXPECT_EQ(failure.reason, ConnectReason::network_unreachable);
}

}  // namespace
}  // namespace shunt
