// SPDX-License-Identifier: GPL-2.0-only
// Rules about the names that QUIC clients give.
#include "proxy/decide_udp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/counters.h"
#include "unit/proxy/serve_udp_fixture.h"
#include "unit/sniff/quic_samples.h"
#include "unit/sniff/tls_samples.h"

namespace shunt {
namespace {

using namespace std::chrono_literals;
using namespace test;
using ::testing::ElementsAre;

/// Of a hello that takes two.
struct Datagrams {
  std::string first;
  std::string second;
};

Datagrams hello(std::string_view name, const std::string& connection_id = "12345678") {
  using namespace tls_samples;  // NOLINT(google-build-using-namespace)
  const std::string message = client_hello_message(extension(51, std::string(1250, 'k')) +
                                                   server_name(name) + alpn({"h3"}));
  const auto packet = [&](std::size_t number, std::size_t offset, std::string_view part) {
    return quic_samples::initial({.payload = quic_samples::crypto(offset, part),
                                  .connection_id = connection_id,
                                  .number = number});
  };
  return {.first = packet(0, 0, std::string_view(message).substr(0, 1000)),
          .second = packet(1, 1000, std::string_view(message).substr(1000))};
}

/// good.example has the address of the test's sessions; the lookup of a slow one takes too long.
std::vector<Address> made_up_names(const std::string& name) {
  if (name == "slow.example") std::this_thread::sleep_for(1s);
  if (name != "good.example" && name != "slow.example") return {};
  return {*Address::parse("198.51.100.1"), *Address::parse("2001:db8::1")};
}

/// Of the name a.example, for which the answer holds 192.0.2.7.
std::string dns_answer(std::string_view query) {
  const auto parsed = dns::parse(query);
  const std::vector<dns::Record> records = {{.owner = parsed->question.name,
                                             .type = dns::type::kA,
                                             .ttl_s = 60,
                                             .address = *Address::parse("192.0.2.7")}};
  return dns::make_answer(query, *parsed, dns::Rcode::no_error, records);
}

class DecideUdp : public ServeUdpTest {
 protected:
  void decide_by(const std::vector<std::string>& texts, const std::string& fallback = "direct") {
    PolicySource source;
    source.fallback.text = fallback;
    for (const std::string& text : texts) source.rules.push_back({.text = text, .place = {}});
    policy.replace(Policy::create(Ruleset::compile(std::move(source)).value(), {way_out}));
    options.names = {.lookups = &names, .memory = &memory};
    options.sniff_wait_ms = 10'000;
  }

  void send(Peer& client, const Datagrams& datagrams) {
    client.send(listener, datagrams.first);
    client.send(listener, datagrams.second);
  }

  /// A client asks a resolver for a.example, and has the answer.
  void look_up_through_shunt() {
    set_destination(Endpoint{made_up_destination.address, dns::kPort});
    start();
    Peer client(Address::loopback(GetParam()));
    const dns::Question question{.name = "a.example", .type = dns::type::kA};
    const std::string query = *dns::make_query(7, question, 1232);
    ASSERT_EQ(pass(client, query), query);
    server.send(server.from, dns_answer(query));
    ASSERT_TRUE(client.receive());
  }

  std::pair<Flow, FlowEnd> only_end() {
    EXPECT_TRUE(eventually([&] { return !log.ends().empty(); }));
    return log.ends().at(0);
  }

  /// Of a session that waits for its name under other rules.
  void expect_rejected_by_newer(const std::string& rule) {
    decide_by({"host denied.example -> reject"});
    start();
    Peer client(Address::loopback(GetParam()));
    const Datagrams datagrams = hello("a.example");
    client.send(listener, datagrams.first);
    ASSERT_TRUE(eventually([&] { return sessions() == 1; }));
    decide_by({rule});
    on_loop<int>([this] { return udp->end_changed(*policy.get()), 0; });
    EXPECT_EQ(sessions(), 1U);
    client.send(listener, datagrams.second);
    EXPECT_EQ(only_end().second.failure->reason, ConnectReason::rejected_by_rule);
  }

  NameVerifier names{made_up_names};
  dns::Memory memory{{*Address::parse("198.51.100.1"), *Address::parse("2001:db8::1")}};
};
INSTANTIATE_TEST_SUITE_P(, DecideUdp, testing::Values(Family::ipv4, Family::ipv6), family_name);

TEST_P(DecideUdp, name_denies_unverified_and_is_logged) {
  decide_by({"host denied.example -> reject"});
  start();
  Peer client(Address::loopback(GetParam()));
  send(client, hello("Denied.Example"));
  const auto [flow, end] = only_end();
  EXPECT_EQ(end.failure->reason, ConnectReason::rejected_by_rule);
  EXPECT_EQ(flow.rule, 1U);
  EXPECT_EQ(flow.host.name, "denied.example");
  EXPECT_EQ(flow.host.source, NameSource::quic_sni);
  EXPECT_FALSE(flow.host.ech);
  EXPECT_EQ(way_out->dials, 0);
  EXPECT_EQ(server.receive(50), std::nullopt);
}

TEST_P(DecideUdp, datagrams_wait_for_the_rest_of_a_hello_and_keep_their_order) {
  decide_by({"host denied.example -> reject"});
  start();
  Peer client(Address::loopback(GetParam()));
  const Datagrams datagrams = hello("other.example");
  client.send(listener, datagrams.second);
  EXPECT_EQ(server.receive(100), std::nullopt);
  EXPECT_EQ(way_out->dials, 0);
  client.send(listener, datagrams.first);
  EXPECT_EQ(server.receive(), datagrams.second);
  EXPECT_EQ(server.receive(), datagrams.first);
  server.send(server.from, "answer");
  EXPECT_EQ(client.receive(), "answer");
  EXPECT_EQ(way_out->dials, 1);
}

TEST_P(DecideUdp, hello_that_stays_incomplete_costs_the_sniff_wait) {
  decide_by({"host denied.example -> reject"});
  options.sniff_wait_ms = 100;
  const auto before = counted(Counter::sniff_waits_expired);
  start();
  Peer client(Address::loopback(GetParam()));
  const Datagrams datagrams = hello("denied.example");
  EXPECT_EQ(pass(client, datagrams.first), datagrams.first);
  EXPECT_EQ(counted(Counter::sniff_waits_expired), before + 1);
}

TEST_P(DecideUdp, hello_that_cannot_be_read_is_denied_where_a_name_may_be) {
  decide_by({"host denied.example -> reject"});
  const std::string no_hello = quic_samples::initial(
      {.payload = quic_samples::crypto(0, tls_samples::handshake(2, std::string(40, 'x')))});
  start();
  Peer client(Address::loopback(GetParam()));
  client.send(listener, no_hello);
  const auto [flow, end] = only_end();
  EXPECT_EQ(end.failure->reason, ConnectReason::rejected_by_rule);
  EXPECT_EQ(flow.rule, 1U);
  EXPECT_EQ(way_out->dials, 0);
}

TEST_P(DecideUdp, name_permits_only_the_address_that_it_has) {
  decide_by({"host good.example,made-up.example -> direct"}, "reject");
  const auto before = counted(Counter::name_mismatches);
  start();
  Peer liar(Address::loopback(GetParam()));
  send(liar, hello("made-up.example"));
  EXPECT_EQ(only_end().second.failure->reason, ConnectReason::rejected_by_rule);
  EXPECT_EQ(counted(Counter::name_mismatches), before + 1);
  Peer client(Address::loopback(GetParam()));
  const Datagrams datagrams = hello("good.example");
  send(client, datagrams);
  EXPECT_EQ(server.receive(), datagrams.first);
  EXPECT_EQ(server.receive(), datagrams.second);
  EXPECT_EQ(way_out->dials, 1);
}

TEST_P(DecideUdp, lookup_that_takes_too_long_permits_nothing) {
  decide_by({"host slow.example -> direct"}, "reject");
  options.sniff_wait_ms = 100;
  start();
  Peer client(Address::loopback(GetParam()));
  send(client, hello("slow.example"));
  EXPECT_EQ(only_end().second.failure->reason, ConnectReason::rejected_by_rule);
}

TEST_P(DecideUdp, later_connection_that_is_denied_does_not_pass) {
  decide_by({"host denied.example -> reject"});
  start();
  Peer client(Address::loopback(GetParam()));
  const Datagrams first = hello("other.example");
  send(client, first);
  EXPECT_EQ(server.receive(), first.first);
  EXPECT_EQ(server.receive(), first.second);
  const Datagrams again = hello("third.example", "another");
  EXPECT_EQ(pass(client, again.first), again.first);
  EXPECT_EQ(pass(client, again.second), again.second);
  const Datagrams denied = hello("denied.example", "a third");
  EXPECT_EQ(pass(client, denied.first), denied.first);  // nobody knows yet
  EXPECT_EQ(pass(client, first.first), first.first);    // sent again, and in between
  client.send(listener, denied.second);
  const auto [flow, end] = only_end();
  EXPECT_EQ(end.failure->reason, ConnectReason::rejected_by_rule);
  EXPECT_EQ(flow.host.name, "denied.example");
  client.send(listener, denied.second);
  EXPECT_EQ(server.receive(50), std::nullopt);
}

TEST_P(DecideUdp, connection_that_hides_behind_other_datagrams_is_seen) {
  decide_by({"host denied.example -> reject"});
  options.sniff_wait_ms = 100;
  start();
  const Datagrams denied = hello("denied.example", "hidden");
  Peer behind(Address::loopback(GetParam()));
  EXPECT_EQ(pass(behind, "datagram"), "datagram");
  EXPECT_EQ(pass(behind, denied.second), denied.second);
  behind.send(listener, denied.first);
  EXPECT_EQ(only_end().second.failure->reason, ConnectReason::rejected_by_rule);
  Peer slow(Address::loopback(GetParam()));
  EXPECT_EQ(pass(slow, denied.first), denied.first);  // when the wait was over
  slow.send(listener, denied.second);
  ASSERT_TRUE(eventually([&] { return log.ends().size() == 2; }));
  EXPECT_EQ(log.ends()[1].second.failure->reason, ConnectReason::rejected_by_rule);
  EXPECT_EQ(server.receive(50), std::nullopt);
}

TEST_P(DecideUdp, connection_that_hides_in_the_queue_behind_another_is_seen) {
  decide_by({"host denied.example -> reject"});
  start();
  Peer client(Address::loopback(GetParam()));
  client.send(listener, hello("other.example").second);
  send(client, hello("denied.example", "hidden"));
  client.send(listener, hello("other.example").first);
  EXPECT_EQ(only_end().second.failure->reason, ConnectReason::rejected_by_rule);
  EXPECT_EQ(server.receive(50), std::nullopt);
}

TEST_P(DecideUdp, client_that_begins_too_many_connections_ends_its_session) {
  decide_by({"host denied.example -> reject"});
  start();
  Peer client(Address::loopback(GetParam()));
  EXPECT_EQ(pass(client, "datagram"), "datagram");
  for (char id = 'a'; log.ends().empty() && id <= 'z'; ++id) {
    client.send(listener, hello("other.example", std::string(8, id)).first);
    (void)server.receive(20);
  }
  EXPECT_EQ(only_end().second.reason, EndReason::refused);
}

TEST_P(DecideUdp, nothing_waits_where_the_rules_need_no_name) {
  decide_by({"port 4433 -> direct", "host denied.example -> reject"});
  start();
  Peer client(Address::loopback(GetParam()));
  const Datagrams datagrams = hello("denied.example");
  EXPECT_EQ(pass(client, datagrams.first), datagrams.first);
  EXPECT_EQ(pass(client, datagrams.second), datagrams.second);
  ASSERT_TRUE(eventually([&] { return log.hellos().size() == 1; }));
  const auto [flow, said] = log.hellos()[0];
  EXPECT_EQ(flow.way_out, "to-server");
  EXPECT_EQ(said.server_name, "denied.example");
  EXPECT_THAT(said.alpn_offered, ElementsAre("h3"));
  EXPECT_EQ(flow.host.name, "");  // it was decided without
}

TEST_P(DecideUdp, what_is_not_quic_waits_for_nothing) {
  decide_by({"host denied.example -> reject"});
  start();
  Peer client(Address::loopback(GetParam()));
  EXPECT_EQ(pass(client, "datagram"), "datagram");
  std::string other_version = hello("denied.example").first;
  other_version[4] = 9;
  Peer other(Address::loopback(GetParam()));
  EXPECT_EQ(pass(other, other_version), other_version);
}

TEST_P(DecideUdp, hello_is_logged_only_where_that_is_asked_for) {
  decide_by({});
  options.observe_content = false;
  start();
  Peer client(Address::loopback(GetParam()));
  const Datagrams datagrams = hello("a.example");
  EXPECT_EQ(pass(client, datagrams.first), datagrams.first);
  EXPECT_EQ(pass(client, datagrams.second), datagrams.second);
  EXPECT_TRUE(log.hellos().empty());
}

TEST_P(DecideUdp, session_without_a_name_has_the_one_that_its_client_asked_for) {
  decide_by({"host denied.example -> reject"});
  start();
  const Address loopback = Address::loopback(GetParam());
  dns::Message answer;
  answer.response = true;
  answer.question = {.name = "denied.example", .type = dns::type::kA};
  answer.answers = {{.owner = "denied.example",
                     .type = dns::type::kA,
                     .ttl_s = 60,
                     .address = made_up_destination.address}};
  Peer before(loopback);
  EXPECT_EQ(pass(before, "datagram"), "datagram");
  memory.learn(loopback, *Address::parse("192.0.2.1"), answer);
  Peer client(loopback);
  client.send(listener, "datagram");
  const auto [flow, end] = only_end();
  EXPECT_EQ(end.failure->reason, ConnectReason::rejected_by_rule);
  EXPECT_EQ(flow.host.name, "denied.example");
  EXPECT_EQ(flow.host.source, NameSource::dns_memory);
  Peer quic(loopback);
  const Datagrams datagrams = hello("other.example");  // its own name comes first
  send(quic, datagrams);
  EXPECT_EQ(server.receive(), datagrams.first);
}

TEST_P(DecideUdp, answers_that_pass_are_remembered_before_the_client_has_them) {
  decide_by({"host denied.example -> reject"});
  look_up_through_shunt();
  const auto names = memory.names_of(Address::loopback(GetParam()), *Address::parse("192.0.2.7"));
  ASSERT_EQ(names.size(), 1U);
  EXPECT_EQ(names[0], (dns::Memory::Name{.name = "a.example", .tied = true}));
}

TEST_P(DecideUdp, nothing_is_remembered_where_no_rule_names_a_host) {
  decide_by({"port 1 -> reject"});
  look_up_through_shunt();
  EXPECT_TRUE(memory.names_of(Address::loopback(GetParam()), *Address::parse("192.0.2.7")).empty());
}

TEST_P(DecideUdp, session_that_ends_while_it_waits_ends_everything_of_it) {
  decide_by({"host denied.example -> reject"});
  start();
  Peer client(Address::loopback(GetParam()));
  client.send(listener, hello("a.example").first);
  ASSERT_TRUE(eventually([&] { return sessions() == 1; }));
  on_loop<int>([this] { return udp->stop(), 0; });
  EXPECT_EQ(done.wait_for(5s), std::future_status::ready);
  EXPECT_EQ(way_out->dials, 0);
  EXPECT_EQ(log.ends().at(0).second.reason, EndReason::shutdown);
}

TEST_P(DecideUdp, session_that_waits_is_decided_by_rules_that_come_meanwhile) {
  expect_rejected_by_newer("host a.example -> reject");
}

TEST_P(DecideUdp, rules_that_come_meanwhile_may_ask_for_the_interface) {
  expect_rejected_by_newer("not in nowhere0 -> reject");
}

TEST_P(DecideUdp, new_rules_end_a_session_by_its_interface) {
  decide_by({"port 4433 -> direct"});
  start();
  Peer client(Address::loopback(GetParam()));
  EXPECT_EQ(pass(client, "hello"), "hello");
  PolicySource source;
  source.rules = {{.text = "not in nowhere0 -> reject", .place = {}}};
  const auto changed = Policy::create(Ruleset::compile(std::move(source)).value(), {way_out});
  on_loop<int>([&] { return udp->end_changed(*changed), 0; });
  EXPECT_EQ(sessions(), 0U);
}

TEST_P(DecideUdp, new_rules_end_a_session_by_the_name_that_was_seen) {
  decide_by({"port 4433 -> direct"});
  start();
  Peer client(Address::loopback(GetParam()));
  const Datagrams datagrams = hello("a.example");
  EXPECT_EQ(pass(client, datagrams.first), datagrams.first);
  EXPECT_EQ(pass(client, datagrams.second), datagrams.second);
  PolicySource source;
  source.rules = {{.text = "host a.example -> reject", .place = {}}};
  const auto changed = Policy::create(Ruleset::compile(std::move(source)).value(), {way_out});
  on_loop<int>([&] { return udp->end_changed(*changed), 0; });
  EXPECT_EQ(sessions(), 0U);
}

}  // namespace
}  // namespace shunt
