// SPDX-License-Identifier: GPL-2.0-only
// Configurations that are wrong, and what is said of them; then what the right ones do.
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

Error mistake(const std::vector<WayOutSpec>& specs, std::uint32_t own_bits = 0) {
  const auto made = make_ways_out(specs, {.own_mark_bits = own_bits});
  EXPECT_FALSE(made.has_value());
  return made ? Error{} : made.error();
}

void expect_mistake(const WayOutSpec& spec, std::string_view part,
                    int number = error_number::kBadWayOut) {
  const Error error = mistake({spec});
  EXPECT_EQ(error.number, number) << error.message;
  EXPECT_EQ(error.kind, Kind::configuration);
  EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
}

TEST(MakeWaysOut, direct_is_always_there) {
  const auto made = make_ways_out({}, {});
  ASSERT_TRUE(made.has_value());
  ASSERT_NE(made->find("direct"), nullptr);
  EXPECT_EQ(made->find("direct")->name(), "direct");
  EXPECT_EQ(made->find("wan2"), nullptr);
}

TEST(MakeWaysOut, names_are_plain_and_unique) {
  expect_mistake({.name = ""}, "a name is made of");
  expect_mistake({.name = "a b"}, "a name is made of");
  expect_mistake({.name = "direct"}, "shunt's own");
  EXPECT_NE(mistake({{.name = "a"}, {.name = "a"}}).message.find("two ways out"),
            std::string::npos);
}

TEST(MakeWaysOut, contradictions_name_their_key) {
  const std::string proxy = "socks5://127.0.0.1:1080";
  expect_mistake({.name = "a", .interface = "an-interface-too-long"}, "interface");
  expect_mistake({.name = "a", .mark = 0}, "mark");
  expect_mistake({.name = "a", .source = {*Address::parse("0.0.0.0")}}, "source");
  expect_mistake(
      {.name = "a", .source = {*Address::parse("192.0.2.1"), *Address::parse("192.0.2.2")}},
      "at most one");
  expect_mistake({.name = "a", .resolve = true}, "resolve");
  expect_mistake({.name = "a", .user = "alice"}, "user");
  expect_mistake({.name = "a", .proxy = "ftp://x"}, "unknown kind of proxy");
  expect_mistake({.name = "a", .proxy = proxy, .user = "alice"}, "a user without a password");
  expect_mistake({.name = "a", .proxy = proxy, .credential = "x"}, "a password without a user");
  expect_mistake(
      {.name = "a", .proxy = proxy, .user = "u", .password_file = "f", .credential = "c"},
      "from one place");
  expect_mistake({.name = "a", .proxy = "socks4a://u@127.0.0.1", .credential = "c"},
                 "SOCKS4 knows no password");
  expect_mistake({.name = "a", .interface = "eth0", .proxy = proxy, .via = {"direct"}},
                 "interface");
  expect_mistake({.name = "a", .members = {"direct"}}, "members");
  expect_mistake({.name = "a", .group = GroupKind::failover}, "a group without members");
  expect_mistake({.name = "a", .proxy = proxy, .group = GroupKind::failover, .members = {"direct"}},
                 "proxy");
  expect_mistake({.name = "a", .group = GroupKind::failover, .members = {"direct", "direct"}},
                 "twice");
  expect_mistake({.name = "a",
                  .group = GroupKind::failover,
                  .members = {"direct"},
                  .check = CheckSpec{.target = "192.0.2.1"}},
                 "tcp:// or http://");
}

TEST(MakeWaysOut, keep_source_excludes_what_leaves_nothing_to_keep) {
  const std::string proxy = "socks5://127.0.0.1:1080";
  const WayOutSpec clear{.name = "clear", .keep_source = KeptEnd::address};
  WayOutSpec spec = clear;
  spec.source = {*Address::parse("192.0.2.1")};
  expect_mistake(spec, "source: keep-source says already whose address");
  spec = clear;
  spec.proxy = proxy;
  expect_mistake(spec, "proxy: the server sees the address of the proxy");
  spec = clear;
  spec.via = {"direct"};
  expect_mistake(spec, "via: the server sees the address of the proxy");
  spec = clear;
  spec.group = GroupKind::failover;
  spec.members = {"direct"};
  expect_mistake(spec, "keep-source: a group has members");
  expect_mistake({.name = "a", .keep_source_from = {*Network::parse("10.0.0.0/8")}},
                 "keep-source-from: only keep-source");
  for (const char* network : {"127.0.0.0/8", "224.0.0.0/4", "::1", "0.0.0.0"}) {
    spec = clear;
    spec.keep_source_from = {*Network::parse(network)};
    expect_mistake(spec, "holds no client's address");
  }
  const Error hop = mistake({clear, {.name = "b", .proxy = proxy, .via = {"clear"}}});
  EXPECT_NE(hop.message.find("\"clear\" keeps clients' addresses"), std::string::npos);
}

TEST(MakeWaysOut, keep_source_goes_with_what_says_how_a_socket_leaves) {
  const std::vector<WayOutSpec> specs{
      {.name = "clear",
       .interface = "wan0",
       .mark = 1,
       .table = 100,
       .keep_source = KeptEnd::port,
       .keep_source_from = {*Network::parse("0.0.0.0/0")},
       .proxy_protocol = proxy_protocol::Version::v2},
      {.name = "any", .group = GroupKind::failover, .members = {"clear", "direct"}}};
  const auto made = make_ways_out(specs, {});
  ASSERT_TRUE(made.has_value()) << made.error().message;
  EXPECT_TRUE(made->find("clear")->carries_udp());
}

TEST(MakeWaysOut, a_table_is_one_that_leads_out_and_is_no_groups) {
  expect_mistake({.name = "a", .table = 255}, "table: 255 is no table that leads out");
  expect_mistake({.name = "a", .table = 100, .group = GroupKind::failover, .members = {"direct"}},
                 "table");
  expect_mistake({.name = "a", .table = 100, .via = {"direct"}}, "table");
}

TEST(MakeWaysOut, a_password_in_the_url_is_not_repeated) {
  const Error error = mistake({{.name = "a", .proxy = "socks5://alice:hunter2@127.0.0.1"}});
  EXPECT_EQ((error.message + error.help + error.place).find("hunter2"), std::string::npos);
  EXPECT_NE(error.help.find("credential"), std::string::npos);
}

TEST(MakeWaysOut, a_mark_that_meets_shunts_own_is_refused_with_the_bits) {
  const Error error = mistake({{.name = "a", .mark = 0x0100'0001}}, 0xff00'0000);
  EXPECT_EQ(error.number, error_number::kMarkTaken);
  EXPECT_NE(error.message.find("0x1000000"), std::string::npos) << error.message;
}

TEST(MakeWaysOut, unknown_names_come_with_a_suggestion) {
  const Error error = mistake({{.name = "wan2"}, {.name = "office", .via = {"wan22"}}});
  EXPECT_EQ(error.number, error_number::kUnknownWayOut);
  EXPECT_EQ(error.message, "way out \"office\", via: unknown way out \"wan22\"");
  EXPECT_EQ(error.help, "did you mean \"wan2\"?");
}

TEST(MakeWaysOut, a_way_out_through_itself_is_shown_as_a_circle) {
  const Error error = mistake(
      {{.name = "a", .via = {"b"}}, {.name = "b", .group = GroupKind::failover, .members = {"a"}}});
  EXPECT_EQ(error.number, error_number::kWayOutCycle);
  EXPECT_NE(error.message.find("\"a\" -> \"b\" -> \"a\""), std::string::npos) << error.message;
}

TEST(MakeWaysOut, the_error_says_where_its_key_stands) {
  WayOutSpec spec{.name = "a", .mark = 0};
  spec.place = [](std::string_view key) { return "shunt.toml:7, " + std::string(key); };
  EXPECT_EQ(mistake({spec}).place, "shunt.toml:7, mark");
}

TEST(MakeWaysOut, only_the_first_hop_says_how_the_connection_leaves) {
  const std::string proxy = "socks5://127.0.0.1:1080";
  const WayOutSpec plain{.name = "plain", .proxy = proxy};
  const WayOutSpec bound{.name = "bound", .interface = "lo", .proxy = proxy};
  const WayOutSpec wan{.name = "wan", .interface = "lo"};
  const auto says = [&](std::vector<std::string> via, std::string_view part) {
    const Error error = mistake({plain, bound, wan, {.name = "x", .via = std::move(via)}});
    EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
  };
  says({"plain", "bound"}, "only be a first hop");
  says({"plain", "wan"}, "only be the first hop");
  says({"plain", "direct"}, "only be the first hop");
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

TEST(MakeWaysOut, a_chain_of_proxies_carries_no_datagrams) {
  const auto made = make_ways_out(
      std::vector<WayOutSpec>{
          {.name = "near", .proxy = "socks5://127.0.0.1:1080"},
          {.name = "far", .proxy = "socks5://127.0.0.1:1081", .via = {"near"}},
          {.name = "bound", .interface = "lo"},
          {.name = "behind", .proxy = "socks5://127.0.0.1:1081", .via = {"bound"}}},
      {});
  ASSERT_TRUE(made.has_value());
  EXPECT_TRUE(made->find("near")->carries_udp());
  EXPECT_FALSE(made->find("far")->carries_udp());
  EXPECT_TRUE(made->find("behind")->carries_udp());
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
  EXPECT_EQ(mistake(specs).number, error_number::kPasswordFile);
  auto outside = specs;
  outside[0].credential = "../passwd";
  EXPECT_EQ(mistake(outside).number, error_number::kPasswordFile);
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
