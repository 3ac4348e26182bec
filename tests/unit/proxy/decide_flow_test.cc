// SPDX-License-Identifier: GPL-2.0-only
// Decisions about flows whose facts come one after the other.
#include "proxy/decide_flow.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/counters.h"
#include "capture/capture.h"
#include "egress/direct.h"
#include "proxy/fd_budget.h"
#include "unit/support/loop_thread.h"
#include "unit/support/tcp_pair.h"

namespace shunt {
namespace {

using test::LoopThread;
using test::send_all;

std::shared_ptr<const Policy> policy_of(const std::vector<std::string>& rules) {
  PolicySource source;
  for (const std::string& text : rules) source.rules.push_back({.text = text, .place = {}});
  return Policy::create(Ruleset::compile(std::move(source)).value(), {make_direct({})});
}

/// One host has the address of the test's flows; one keeps its answer to itself.
std::vector<Address> made_up_names(const std::string& name) {
  if (name == "slow.example") std::this_thread::sleep_for(std::chrono::seconds(2));
  if (name != "good.example" && name != "slow.example") return {};
  return {*Address::parse("203.0.113.9"), *Address::parse("198.51.100.1")};
}

class OneProcess final : public ProcessFinder {
 public:
  ProcessFact find(const Flow& /*flow*/, Wanted wanted) override {
    ++asked;
    ProcessFact fact{.state = FactState::known, .uid = 1000};
    if (wanted == Wanted::all) fact.name = "curl";
    return fact;
  }
  int asked = 0;
};

struct Question {
  std::vector<std::string> rules;
  std::string destination = "198.51.100.1:80";
  std::vector<std::uint16_t> server_first_ports = {};
  std::uint32_t sniff_wait_ms = 10'000;
};

class DecideFlowTest : public testing::Test {
 protected:
  /// Starts to decide about the client of `pair_`.
  std::future<DecidedFlow> decide(Question question) {
    question_ = std::move(question);
    policy_ = std::make_unique<CurrentPolicy>(policy_of(question_.rules));
    return thread_.start<DecidedFlow>([this] { return decided(); });
  }

  Task<DecidedFlow> decided() {
    RelayResources relay(thread_.loop(), budget_, 60'000);
    const DecideContext context{.relay = relay,
                                .policy = *policy_,
                                .names = {.lookups = &names_, .memory = &memory_},
                                .processes = &processes_,
                                .server_first_ports = question_.server_first_ports,
                                .sniff_wait_ms = question_.sniff_wait_ms};
    Captured captured{.flow = {.id = 1,
                               .source = *Endpoint::parse("192.0.2.2:4000"),
                               .original_destination = *Endpoint::parse(question_.destination),
                               .started = Clock::now()},
                      .client = accepted_client(std::move(pair_.far))};
    auto flow = co_await decide_flow(context, captured);
    EXPECT_TRUE(flow);
    client_ = std::move(captured.client);  // stays open
    co_return *std::move(flow);
  }

  /// `resolver` told the client that 198.51.100.1 is that.
  void remember(const std::string& name, const char* resolver) {
    const Address address = *Address::parse("198.51.100.1");
    dns::Message answer;
    answer.response = true;
    answer.question = {.name = name, .type = dns::type::kA};
    answer.answers = {{.owner = name, .type = dns::type::kA, .ttl_s = 60, .address = address}};
    memory_.learn(*Address::parse("192.0.2.2"), *Address::parse(resolver), answer);
  }

  static constexpr const char* kTrusted = "192.0.2.53";
  static constexpr const char* kNobody = "192.0.2.66";

  FdBudget budget_{100};
  Question question_;
  std::unique_ptr<CurrentPolicy> policy_;
  NameVerifier names_{made_up_names};
  dns::Memory memory_{{*Address::parse(kTrusted)}};
  OneProcess processes_;
  test::TcpPair pair_ = test::tcp_pair();
  std::unique_ptr<Admission> client_;
  LoopThread thread_;
};

TEST_F(DecideFlowTest, needs_no_byte_where_no_rule_asks_for_one) {
  auto flow = decide({.rules = {"port 80 -> direct", "host a.example -> reject"}}).get();
  EXPECT_EQ(flow.rule, 1U);
  EXPECT_FALSE(flow.by_first_bytes);
  EXPECT_EQ(flow.policy->hits().hits(1), 1U);
}

TEST_F(DecideFlowTest, waits_for_a_name_that_comes_in_pieces) {
  auto flow = decide({.rules = {"host *.example -> reject"}});
  send_all(pair_.near.get(), "GET / HTTP/1.1\r\n");
  send_all(pair_.near.get(), "Host: a.exa");
  EXPECT_EQ(flow.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  send_all(pair_.near.get(), "mple\r\n\r\n");
  const auto decided = flow.get();
  EXPECT_EQ(decided.rule, 1U);
  EXPECT_TRUE(decided.by_first_bytes);
  EXPECT_EQ(decided.hints().host, "a.example");
  EXPECT_EQ(decided.way_out(), nullptr);
}

TEST_F(DecideFlowTest, takes_nothing_of_what_it_looks_at) {
  auto flow = decide({.rules = {"app ssh -> direct"}});
  send_all(pair_.near.get(), "SSH-2.0-x\r\n");
  EXPECT_EQ(flow.get().rule, 1U);
  char buffer[64];
  EXPECT_EQ(::recv(client_->peekable_fd(), buffer, sizeof buffer, 0), 11);
}

TEST_F(DecideFlowTest, does_not_wait_for_more_than_the_rules_ask) {
  auto flow = decide({.rules = {"method POST -> reject"}});
  send_all(pair_.near.get(), "POST /x HTTP/1.1\r\nHo");
  EXPECT_EQ(flow.get().rule, 1U);
}

TEST_F(DecideFlowTest, silent_client_is_decided_by_its_address_when_the_wait_is_over) {
  const auto expired = counted(Counter::sniff_waits_expired);
  const auto start = Clock::now();
  const auto flow = decide({.rules = {"host a.example -> reject"}, .sniff_wait_ms = 100}).get();
  EXPECT_GE(Clock::now() - start, std::chrono::milliseconds(100));
  EXPECT_EQ(flow.rule, 0U);
  EXPECT_NE(flow.way_out(), nullptr);
  EXPECT_EQ(counted(Counter::sniff_waits_expired), expired + 1);
}

TEST_F(DecideFlowTest, client_that_has_ended_is_not_waited_for) {
  auto flow = decide({.rules = {"host a.example -> reject"}});
  pair_.near.reset();
  EXPECT_EQ(flow.get().rule, 0U);
}

TEST_F(DecideFlowTest, never_waits_where_the_server_speaks_first) {
  const Question question{.rules = {"host a.example -> reject"}, .destination = "198.51.100.1:22"};
  const auto flow = decide(question).get();
  EXPECT_EQ(flow.rule, 0U);
  EXPECT_FALSE(flow.by_first_bytes);
}

TEST_F(DecideFlowTest, ports_of_servers_that_speak_first_may_be_added) {
  const Question question{.rules = {"host a.example -> reject"},
                          .destination = "198.51.100.1:7777",
                          .server_first_ports = {7777}};
  EXPECT_EQ(decide(question).get().rule, 0U);
}

TEST_F(DecideFlowTest, name_of_the_address_permits) {
  auto flow = decide({.rules = {"host good.example -> direct", "-> reject"}});
  send_all(pair_.near.get(), "GET / HTTP/1.1\r\nHost: good.example\r\n\r\n");
  const auto decided = flow.get();
  EXPECT_EQ(decided.rule, 1U);
  EXPECT_TRUE(decided.facts.name.verified);
}

TEST_F(DecideFlowTest, name_of_another_address_permits_nothing) {
  const auto mismatches = counted(Counter::name_mismatches);
  auto flow = decide(
      {.rules = {"host good.example -> direct", "-> reject"}, .destination = "198.51.100.2:80"});
  send_all(pair_.near.get(), "GET / HTTP/1.1\r\nHost: good.example\r\n\r\n");
  EXPECT_EQ(flow.get().rule, 2U);
  EXPECT_EQ(counted(Counter::name_mismatches), mismatches + 1);
}

TEST_F(DecideFlowTest, name_that_nobody_knows_permits_nothing) {
  auto flow = decide({.rules = {"host *.example -> direct", "-> reject"}});
  send_all(pair_.near.get(), "GET / HTTP/1.1\r\nHost: none.example\r\n\r\n");
  EXPECT_EQ(flow.get().rule, 2U);
}

TEST_F(DecideFlowTest, answer_that_comes_too_late_is_none) {
  const auto start = Clock::now();
  auto flow = decide({.rules = {"host slow.example -> direct", "-> reject"}, .sniff_wait_ms = 300});
  send_all(pair_.near.get(), "GET / HTTP/1.1\r\nHost: slow.example\r\n\r\n");
  EXPECT_EQ(flow.get().rule, 2U);
  EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(1500));
}

TEST_F(DecideFlowTest, name_that_only_chooses_a_way_out_is_not_looked_up) {
  auto flow = decide({.rules = {"host slow.example -> direct"}, .sniff_wait_ms = 10'000});
  const auto start = Clock::now();
  send_all(pair_.near.get(), "GET / HTTP/1.1\r\nHost: slow.example\r\n\r\n");
  EXPECT_EQ(flow.get().rule, 1U);
  EXPECT_LT(Clock::now() - start, std::chrono::milliseconds(1500));
}

TEST_F(DecideFlowTest, name_that_was_looked_up_stands_in_at_once_where_the_server_speaks_first) {
  remember("denied.example", kNobody);
  const Question question{.rules = {"host denied.example -> reject"},
                          .destination = "198.51.100.1:22"};
  const auto flow = decide(question).get();
  EXPECT_EQ(flow.rule, 1U);
  EXPECT_EQ(flow.facts.name.source, NameSource::dns_memory);
  EXPECT_EQ(flow.hints().host, "");
}

TEST_F(DecideFlowTest, name_that_was_looked_up_stands_in_where_the_first_bytes_hold_none) {
  remember("denied.example", kNobody);
  auto flow = decide({.rules = {"host denied.example -> reject"}});
  send_all(pair_.near.get(), "SSH-2.0-x\r\n");
  EXPECT_EQ(flow.get().rule, 1U);
}

TEST_F(DecideFlowTest, name_that_the_client_says_comes_before_the_one_that_was_looked_up) {
  remember("denied.example", kNobody);
  auto flow = decide({.rules = {"host denied.example -> reject"}});
  send_all(pair_.near.get(), "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n");
  EXPECT_EQ(flow.get().rule, 0U);
}

TEST_F(DecideFlowTest, name_from_nobody_in_particular_permits_only_when_it_is_verified) {
  remember("made-up.example", kNobody);
  const std::vector<std::string> rules = {"host good.example,made-up.example -> direct",
                                          "-> reject"};
  EXPECT_EQ(decide({.rules = rules, .destination = "198.51.100.1:22"}).get().rule, 2U);
  remember("good.example", kNobody);  // that is looked up
  EXPECT_EQ(decide({.rules = rules, .destination = "198.51.100.1:22"}).get().rule, 1U);
}

TEST_F(DecideFlowTest, name_from_a_trusted_resolver_permits) {
  remember("made-up.example", kTrusted);
  const std::vector<std::string> rules = {"host made-up.example -> direct", "-> reject"};
  EXPECT_EQ(decide({.rules = rules, .destination = "198.51.100.1:22"}).get().rule, 1U);
}

TEST_F(DecideFlowTest, trusted_answer_verifies_what_the_client_says) {
  remember("made-up.example", kTrusted);
  auto flow = decide({.rules = {"host made-up.example -> direct", "-> reject"}});
  send_all(pair_.near.get(), "GET / HTTP/1.1\r\nHost: made-up.example\r\n\r\n");
  EXPECT_EQ(flow.get().rule, 1U);
}

TEST_F(DecideFlowTest, denied_name_of_several_denies) {
  remember("denied.example", kTrusted);
  remember("other.example", kTrusted);
  const auto flow =
      decide({.rules = {"host denied.example -> reject"}, .destination = "198.51.100.1:22"}).get();
  EXPECT_EQ(flow.rule, 1U);
  EXPECT_EQ(flow.facts.name.name, "denied.example");
}

TEST_F(DecideFlowTest, memory_is_not_asked_where_no_rule_needs_a_name) {
  remember("denied.example", kTrusted);
  const auto flow = decide({.rules = {"port 22 -> direct", "host denied.example -> reject"},
                            .destination = "198.51.100.1:22"})
                        .get();
  EXPECT_EQ(flow.rule, 1U);
  EXPECT_NE(flow.facts.name.state, FactState::known);
}

TEST_F(DecideFlowTest, process_is_looked_for_where_a_rule_asks) {
  EXPECT_EQ(
      decide({.rules = {"port 81 process curl -> reject", "process curl -> drop"}}).get().rule, 2U);
  EXPECT_EQ(processes_.asked, 1);
}

TEST_F(DecideFlowTest, owner_alone_is_asked_for_where_that_decides) {
  const auto flow = decide({.rules = {"uid 1000 -> reject"}}).get();
  EXPECT_EQ(flow.rule, 1U);
  EXPECT_EQ(flow.facts.process.name, "");
}

TEST_F(DecideFlowTest, process_is_not_looked_for_in_vain) {
  EXPECT_EQ(decide({.rules = {"port 80 -> direct", "process curl -> drop"}}).get().rule, 1U);
  EXPECT_EQ(processes_.asked, 0);
}

TEST_F(DecideFlowTest, flow_keeps_the_policy_that_decided_it) {
  auto flow = decide({.rules = {"-> direct"}}).get();
  policy_->replace(policy_of({"-> reject"}));
  EXPECT_FALSE(flow.verdict().denies());
  EXPECT_NE(flow.way_out(), nullptr);
}

}  // namespace
}  // namespace shunt
