// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_service.h"

#include <set>
#include <string>
#include <vector>

#include "unit/proxy/dns_fixture.h"

namespace shunt {
namespace {

using namespace test;
using namespace std::string_literals;

constexpr const char* kOne = "7.7 198.51.100.1";

const std::string kCookie = "\x00\x0a\x00\x08saltandp"s;

/// A message without EDNS, and an OPT record with a cookie.
std::string with_cookie(std::string message) {
  message[11] = 1;
  return message + "\0\0\x29\x10\0\0\0\0\0\0\x0c"s + kCookie;
}

/// The server answers over UDP.
class DnsServiceTest : public DnsTest {
 protected:
  DnsServiceTest() { start(Transport::udp, server_.endpoint()); }

  /// The next query that goes up; "" where none came.
  std::string asked_above() { return server_.receive().value_or(""); }
  void reply(const std::string& answer) { server_.send(server_.from, answer); }

  Peer server_{Address::loopback(Family::ipv4)};
};

TEST_F(DnsServiceTest, clients_do_not_choose_the_ids_of_what_goes_up) {
  std::set<std::uint16_t> ids;
  for (int i = 0; i < 16; ++i) {
    auto answer = ask(dns_query("host" + std::to_string(i) + ".example"));
    const std::string query = asked_above();
    ASSERT_GE(query.size(), dns::kHeaderBytes);
    ids.insert(dns::id_of(query));
    reply(dns_answer(query, 1));
    EXPECT_EQ(shown(answer.get()), kOne);
  }
  EXPECT_GE(ids.size(), 12U);
}

TEST_F(DnsServiceTest, an_answer_with_the_clients_id_or_to_another_question_is_not_believed) {
  auto answer = ask(dns_query("www.example"));
  const std::string query = asked_above();
  ASSERT_GE(query.size(), dns::kHeaderBytes);
  std::string other_id = dns_answer(query, 66);
  dns::set_id(other_id, static_cast<std::uint16_t>(dns::id_of(query) == kClientsId ? kClientsId + 1
                                                                                   : kClientsId));
  reply(other_id);
  std::string other_question = dns_answer(dns_query("evil.example"), 66);
  dns::set_id(other_question, dns::id_of(query));
  reply(other_question);
  reply(query);  // no answer at all
  reply(dns_answer(query, 1));
  EXPECT_EQ(shown(answer.get()), kOne);
  EXPECT_EQ(shown(ask(dns_query("www.example")).get()), kOne);  // what is kept of it
}

TEST_F(DnsServiceTest, equal_questions_at_the_same_time_go_up_once) {
  std::vector<std::future<Answered>> answers;
  for (int i = 0; i < 50; ++i) answers.push_back(ask(dns_query("www.example")));
  std::string shouted = dns_query("www.example");
  shouted[dns::kHeaderBytes + 1] = 'W';
  dns::set_id(shouted, 0x0909);
  auto loud = ask(shouted);
  auto last = ask(dns_query("last.example"));
  const std::string first_query = asked_above();
  const Endpoint first = server_.from;
  const std::string last_query = asked_above();
  ASSERT_TRUE(dns::parse(first_query) && dns::parse(last_query));
  EXPECT_EQ(dns::parse(last_query)->question.name, "last.example");
  reply(dns_answer(last_query, 2));
  EXPECT_EQ(shown(last.get()), "7.7 198.51.100.2");
  server_.send(first, dns_answer(first_query, 1, 0));  // which is not kept
  for (auto& answer : answers) EXPECT_EQ(shown(answer.get()), kOne);
  const Answered got = loud.get();
  EXPECT_EQ(shown(got), "9.9 198.51.100.1");
  EXPECT_EQ(got->substr(dns::kHeaderBytes + 1, 3), "Www");
  auto again = ask(dns_query("www.example"));  // they are done: this one is a new one
  reply(dns_answer(asked_above(), 3));
  EXPECT_EQ(shown(again.get()), "7.7 198.51.100.3");
}

TEST_F(DnsServiceTest, options_of_clients_stay_here) {
  auto answer = ask(with_cookie(dns_query("www.example")));
  const std::string query = asked_above();
  EXPECT_EQ(query.find(kCookie), std::string::npos);
  ASSERT_TRUE(dns::parse(query)->edns);
  reply(with_cookie(dns_answer(dns_query("www.example"), 1)).replace(0, 2, query.substr(0, 2)));
  for (int i = 0; i < 2; ++i) {  // the second from what is kept
    const Answered got = i == 0 ? answer.get() : ask(dns_query("www.example", 1232)).get();
    EXPECT_EQ(shown(got), kOne);
    EXPECT_TRUE(dns::parse(*got)->edns);
    EXPECT_EQ(got->find(kCookie), std::string::npos);
  }
}

TEST_F(DnsServiceTest, a_client_without_edns_is_answered_without) {
  auto answer = ask(dns_query("www.example"));
  const std::string query = asked_above();
  EXPECT_FALSE(dns::parse(query)->edns);
  reply(with_cookie(dns_answer(query, 1)));
  const Answered got = answer.get();
  EXPECT_EQ(shown(got), kOne);
  EXPECT_FALSE(dns::parse(*got)->edns);
}

TEST_F(DnsServiceTest, an_rcode_that_only_edns_has_is_no_answer) {
  auto answer = ask(dns_query("www.example", 1232));
  const std::string query = asked_above();
  std::string bad_cookie = with_cookie(dns_answer(dns_query("www.example"), 1));
  dns::set_id(bad_cookie, dns::id_of(query));
  bad_cookie[bad_cookie.size() - kCookie.size() - 6] = 1;  // BADCOOKIE is 23, 7 of it here
  bad_cookie[3] = static_cast<char>(bad_cookie[3] | 7);
  reply(bad_cookie);
  EXPECT_EQ(shown(answer.get()), "7.7 rcode 2");
}

TEST_F(DnsServiceTest, an_unknown_version_of_edns_is_told_so_and_goes_nowhere) {
  std::string query = dns_query("www.example", 1232);
  query[query.size() - 5] = 1;
  const Answered answer = ask(query).get();
  ASSERT_TRUE(answer && dns::parse(*answer)->edns);
  EXPECT_EQ(dns::parse(*answer)->edns->high_rcode, 1);  // BADVERS is 16
  auto next = ask(dns_query("next.example"));
  const std::string above = asked_above();
  EXPECT_EQ(dns::parse(above)->question.name, "next.example");
  reply(dns_answer(above, 1));
  EXPECT_EQ(shown(next.get()), kOne);
}

}  // namespace
}  // namespace shunt
