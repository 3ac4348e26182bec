// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_watch.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace shunt {
namespace {

const Address kClient = *Address::parse("192.168.1.2");
const Address kResolver = *Address::parse("192.0.2.53");
const Address kTarget = *Address::parse("203.0.113.7");

class DnsWatchTest : public testing::Test {
 protected:
  static Flow flow() {
    Flow flow;
    flow.source = {.address = kClient, .port = 4000};
    flow.original_destination = {.address = kResolver, .port = dns::kPort};
    return flow;
  }
  static std::string query(std::uint16_t id, const std::string& name,
                           std::uint16_t type = dns::type::kA) {
    return *dns::make_query(id, {.name = name, .type = type}, 1232);
  }
  static std::string answer(std::string_view to) {
    const auto parsed = dns::parse(to);
    const std::vector<dns::Record> records = {
        {.owner = parsed->question.name, .type = dns::type::kA, .ttl_s = 60, .address = kTarget}};
    return dns::make_answer(to, *parsed, dns::Rcode::no_error, records);
  }
  bool knows(const std::string& name) { return memory_.ties(name, kTarget); }

  dns::Memory memory_{{kResolver}};
  DnsWatch watch_{memory_, flow()};
};

TEST_F(DnsWatchTest, answer_to_a_question_is_remembered) {
  watch_.asked(query(1, "a.example"));
  watch_.asked(query(2, "b.example"));
  watch_.answered(answer(query(2, "B.Example")));
  EXPECT_TRUE(knows("b.example"));
  EXPECT_FALSE(knows("a.example"));
  watch_.answered(answer(query(1, "a.example")));
  EXPECT_TRUE(knows("a.example"));
}

TEST_F(DnsWatchTest, answer_that_nobody_asked_for_teaches_nothing) {
  watch_.answered(answer(query(1, "a.example")));
  watch_.asked(query(1, "b.example"));
  watch_.answered(answer(query(1, "a.example")));
  watch_.answered(answer(query(2, "b.example")));
  watch_.answered(query(1, "b.example"));
  EXPECT_FALSE(knows("a.example"));
  EXPECT_FALSE(knows("b.example"));
}

TEST_F(DnsWatchTest, question_is_answered_once) {
  const std::string asked = query(1, "a.example");
  watch_.asked(asked);
  const auto parsed = dns::parse(asked);
  watch_.answered(dns::make_answer(asked, *parsed, dns::Rcode::name_error));
  watch_.answered(answer(asked));  // whoever sent that was late
  EXPECT_FALSE(knows("a.example"));
}

TEST_F(DnsWatchTest, questions_for_other_records_are_passed_over) {
  watch_.asked(query(1, "a.example", dns::type::kHttps));
  watch_.answered(answer(query(1, "a.example", dns::type::kHttps)));
  watch_.asked("not a message");
  watch_.answered("neither");
  EXPECT_FALSE(knows("a.example"));
}

TEST_F(DnsWatchTest, newest_questions_stay_open) {
  for (std::uint16_t id = 0; id <= limits::kDnsQuestionsOfSession; ++id) {
    watch_.asked(query(id, "a" + std::to_string(id) + ".example"));
  }
  watch_.answered(answer(query(0, "a0.example")));
  watch_.answered(answer(query(1, "a1.example")));
  EXPECT_FALSE(knows("a0.example"));
  EXPECT_TRUE(knows("a1.example"));
}

}  // namespace
}  // namespace shunt
