// SPDX-License-Identifier: GPL-2.0-only
#include "cli/explain_flow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cli/explain_report.h"

namespace shunt::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

std::shared_ptr<const Ruleset> rules_of(const std::vector<std::string>& texts) {
  PolicySource source;
  source.ways_out = {"wan2", "office"};
  for (const std::string& text : texts) source.rules.push_back({.text = text, .place = {}});
  auto rules = Ruleset::compile(std::move(source));
  EXPECT_TRUE(rules) << (rules ? "" : rules.error().front().message);
  return rules ? *rules : nullptr;
}

Facts facts(const FlowQuestion& question) {
  auto found = facts_of(question);
  EXPECT_TRUE(found) << (found ? "" : found.error().message);
  return found ? *std::move(found) : Facts{};
}

Exclusion exclusion(std::string_view text) { return parse_exclusion(text).value(); }

TEST(ExplainFlow, understands_every_way_to_write_a_destination) {
  struct Case {
    const char* text;
    const char* endpoint;
  };
  for (const auto& [text, endpoint] :
       {Case{"192.0.2.7", "192.0.2.7:443"}, Case{"192.0.2.7:80", "192.0.2.7:80"},
        Case{"2001:db8::7", "[2001:db8::7]:443"}, Case{"[2001:db8::7]:22", "[2001:db8::7]:22"}}) {
    EXPECT_EQ(facts({.destination = text}).destination.text(), endpoint);
  }
  for (const char* text : {"", "192.0.2.7:0", "192.0.2.7:http", "a b", "host:99999"}) {
    EXPECT_FALSE(facts_of({.destination = text})) << text;
  }
}

TEST(ExplainFlow, of_a_client_is_forwarded_and_without_one_is_our_own) {
  const Facts own = facts({.destination = "127.0.0.1", .process = "/usr/bin/curl"});
  EXPECT_EQ(own.interface, "");
  EXPECT_EQ(own.client.address.text(), "127.0.0.1");
  EXPECT_EQ(own.process.name, "curl");
  EXPECT_EQ(own.process.exe, "/usr/bin/curl");
  const Facts forwarded = facts({.destination = "192.0.2.7", .client = "192.168.1.50"});
  EXPECT_EQ(forwarded.interface, std::nullopt);
  EXPECT_EQ(forwarded.process.state, FactState::never);
  EXPECT_FALSE(facts_of({.destination = "192.0.2.7", .client = "me"}));
  EXPECT_FALSE(facts_of({.destination = "192.0.2.7", .interface = "br-lan"}));
}

TEST(ExplainFlow, says_why_a_flow_is_not_captured) {
  GatewayOptions gateway;
  gateway.interfaces = {"br-lan"};
  const std::vector<InterfaceAddress> addresses{
      {.interface = "br-lan", .address = *Address::parse("192.168.1.1"), .prefix_length = 24},
      {.interface = "wan", .address = *Address::parse("198.51.100.2"), .prefix_length = 24}};
  gateway.exclusions = {exclusion("proto udp port 123"), exclusion("to 192.168.0.0/16")};
  const auto why = [&](FlowQuestion question) {
    const auto answer = capture_of(facts(question), gateway, true, addresses);
    return answer.captured ? "captured" : answer.why;
  };
  const std::string lan = "192.168.1.50";
  EXPECT_EQ(why({.destination = "192.0.2.7", .client = lan}), "captured");
  EXPECT_EQ(why({.destination = "192.0.2.7", .client = lan, .interface = "eth7"}),
            "eth7 is not captured");
  EXPECT_EQ(why({.destination = "192.168.9.9", .client = lan}),
            "excluded by \"to 192.168.0.0/16\"");
  EXPECT_EQ(why({.destination = "192.0.2.7:123", .client = lan}), "captured");
  EXPECT_EQ(why({.destination = "192.0.2.7:123", .client = lan, .protocol = Protocol::udp}),
            "excluded by \"proto udp port 123\"");
  EXPECT_EQ(why({.destination = "192.168.1.1", .client = lan}), "it goes to this machine itself");
  EXPECT_EQ(why({.destination = "198.51.100.2", .client = lan}), "it goes to this machine itself");
  EXPECT_EQ(why({.destination = "192.168.1.7", .client = lan}),
            "it goes to the LAN itself (br-lan)");
  EXPECT_EQ(why({.destination = "198.51.100.255", .client = lan}), "broadcast is never captured");
  EXPECT_EQ(why({.destination = "198.51.100.7", .client = lan}), "captured");
  EXPECT_EQ(why({.destination = "239.1.1.1", .client = lan}), "multicast is never captured");
  EXPECT_THAT(why({.destination = "127.0.0.1"}), HasSubstr("host = true"));
  gateway.host = true;
  EXPECT_THAT(why({.destination = "127.0.0.1"}), HasSubstr("loopback = true"));
  gateway.loopback = true;
  EXPECT_EQ(why({.destination = "127.0.0.1"}), "captured");
}

std::string text_of(const std::vector<std::string>& texts, const FlowQuestion& question) {
  const auto rules = rules_of(texts);
  const Facts known = facts(question);
  const FlowAnswer answer =
      explain_flow(*rules, known, CaptureAnswer{.captured = true, .why = "because"});
  return explain_text({.rules = *rules, .facts = known, .answer = answer, .sniff_wait_ms = 300});
}

TEST(ExplainFlow, says_what_is_waited_for_and_what_holds_otherwise) {
  EXPECT_EQ(text_of({"client 10.0.0.0/8 -> reject", "host *.corp.example -> office",
                     "port 443 -> wan2 else direct", "port 1 -> drop"},
                    {.destination = "203.0.113.7", .client = "192.168.1.50"}),
            "flow      tcp 203.0.113.7:443 from 192.168.1.50\n"
            "captured  yes: because\n"
            "decided   by shunt, once it knows the host name, or after 300 ms; the client is let "
            "in first\n"
            "otherwise rule 3\n"
            "action    wan2 else direct\n"
            "\n"
            "  rule 1  no   client 10.0.0.0/8: it is 192.168.1.50\n"
            "  rule 2  ?    host *.corp.example: waits for the host name\n"
            "  rule 3  yes  port 443 -> wan2 else direct\n");
}

TEST(ExplainFlow, what_nobody_told_is_neither_yes_nor_no) {
  const FlowQuestion client{.destination = "203.0.113.7", .client = "192.168.1.50"};
  const std::string in = text_of({"in lan0 port 443 -> reject"}, client);
  EXPECT_THAT(in, HasSubstr("otherwise no rule matches: the default\n"));
  EXPECT_THAT(in, HasSubstr("  rule 1  ?    in lan0: not told (--in IFACE)\n"));
  const std::string port = text_of({"client-port 40000 -> direct"}, client);
  EXPECT_THAT(port, HasSubstr("  rule 1  ?    client-port 40000: not told (--client-port PORT)\n"));
  EXPECT_THAT(port, Not(HasSubstr("in the kernel")));
  FlowQuestion with_port = client;
  with_port.client_port = 40'000;
  EXPECT_THAT(text_of({"client-port 40000 -> reject"}, with_port), HasSubstr("by        rule 1\n"));
  EXPECT_THAT(text_of({"port 443 client-port 1 -> reject"}, with_port),
              HasSubstr("client-port 1: it is 40000\n"));
  EXPECT_THAT(text_of({"not client-port 1 port 80 -> reject"}, client), HasSubstr("rule 1  no"));
}

TEST(ExplainFlow, a_client_arrives_where_its_network_is) {
  GatewayOptions capture;
  capture.interfaces = {"lan0", "lan1"};
  const std::vector<InterfaceAddress> addresses{
      {.interface = "lan0", .address = *Address::parse("192.168.0.1"), .prefix_length = 16},
      {.interface = "lan1", .address = *Address::parse("192.168.77.1"), .prefix_length = 24}};
  const auto arrives = [&](const char* client, const char* in = "") {
    Facts flow = facts({.destination = "203.0.113.7", .client = client, .interface = in});
    infer_interface(flow, capture, addresses);
    return flow.interface.value_or("?");
  };
  EXPECT_EQ(arrives("192.168.77.2"), "lan1");
  EXPECT_EQ(arrives("192.168.5.5"), "lan0");
  EXPECT_EQ(arrives("10.0.0.1"), "?");
  EXPECT_EQ(arrives("192.168.77.2", "lan0"), "lan0");
  capture.interfaces = {"lan1"};
  EXPECT_EQ(arrives("10.0.0.1"), "lan1");
}

TEST(ExplainFlow, a_clients_process_is_never_known_here) {
  const auto asked =
      facts_of({.destination = "203.0.113.7", .client = "192.168.1.50", .process = "curl"});
  ASSERT_FALSE(asked);
  EXPECT_THAT(asked.error().message, HasSubstr("never known here"));
}

TEST(ExplainFlow, a_header_that_leads_to_this_machine_goes_nowhere) {
  const PlainListener free{.name = "free", .addresses = {}};
  const auto rules = rules_of({});
  const Facts known = facts({.destination = "127.0.0.1:80", .client = "192.0.2.1"});
  const FlowAnswer answer = explain_flow(*rules, known, arrival_at(free, known));
  EXPECT_THAT(explain_text({.rules = *rules, .facts = known, .answer = answer}),
              HasSubstr("goes      nowhere: it is reset, no rule is asked\n"));
}

TEST(ExplainFlow, speaks_of_datagrams_where_there_are_some) {
  EXPECT_THAT(
      text_of({"host a.example app quic method GET -> reject"},
              {.destination = "203.0.113.7", .client = "192.0.2.1", .protocol = Protocol::udp}),
      HasSubstr("or after 300 ms; its datagrams wait meanwhile\n"));
}

TEST(ExplainFlow, says_what_the_kernel_decides) {
  const FlowQuestion ssh{.destination = "203.0.113.7:22", .client = "192.168.1.50"};
  EXPECT_THAT(text_of({"port 22 -> direct", "host a.example -> wan2"}, ssh),
              HasSubstr("decided   in the kernel"));
  EXPECT_THAT(text_of({"port 22 -> wan2"}, ssh), HasSubstr("decided   by shunt, at once"));
  EXPECT_THAT(text_of({"host a.example -> wan2", "port 22 -> direct"}, ssh),
              Not(HasSubstr("in the kernel")));
}

TEST(ExplainFlow, says_when_the_client_is_let_in_beside_who_it_is) {
  const auto rules = rules_of({"port 443 -> reject"});
  const Facts known = facts({.destination = "203.0.113.7", .client = "192.0.2.1"});
  const FlowAnswer answer = explain_flow(*rules, known, std::nullopt);
  const ExplainedFlow flow{
      .rules = *rules, .facts = known, .answer = answer, .let_in = "is refused"};
  EXPECT_THAT(explain_text(flow), HasSubstr("\nclient    is refused\n"));
  EXPECT_THAT(explain_json(flow), HasSubstr(R"(,"client":"192.0.2.1",)"));
  EXPECT_THAT(explain_json(flow), HasSubstr(R"(,"action":"reject","let_in":"is refused",)"));
}

TEST(ExplainFlow, is_json_too) {
  const auto rules = rules_of({"port 80 -> reject", "host a.example -> office"});
  const Facts known = facts({.destination = "203.0.113.7", .client = "192.0.2.1"});
  const FlowAnswer answer = explain_flow(*rules, known, std::nullopt);
  EXPECT_EQ(
      explain_json({.rules = *rules, .facts = known, .answer = answer, .with_capture = false}),
      R"({"v":1,"protocol":"tcp","destination":"203.0.113.7","destination_port":443,)"
      R"("client":"192.0.2.1","rule":0,"in_kernel":false,"action":"direct","waits_for":["name"],)"
      R"("rules":[{"rule":1,"outcome":"not_matched","term":"port 80","seen":"443"},)"
      R"({"rule":2,"outcome":"undecided","term":"host a.example","seen":"not known yet"}]})"
      "\n");
}

}  // namespace
}  // namespace shunt::cli
