// SPDX-License-Identifier: GPL-2.0-only
#include "dns/edns.h"

#include <gtest/gtest.h>

#include <string>

namespace shunt::dns {
namespace {

using namespace std::string_literals;

const std::string kCookie = "\x00\x0a\x00\x08saltandp"s;  // option 10 (RFC 7873)

/// An OPT record with these options and the upper bits of an rcode.
std::string opt(const std::string& options, char high_rcode = 0, bool dnssec_ok = false) {
  return "\0\0\x29\x10\0"s + high_rcode + "\0"s + (dnssec_ok ? '\x80' : '\0') + "\0\0"s +
         static_cast<char>(options.size()) + options;
}

std::string query_with(const std::string& record, std::uint16_t id = 7) {
  std::string query = *make_query(id, {.name = "www.example", .type = type::kA}, 0) + record;
  query[11] = record.empty() ? 0 : 1;
  return query;
}

std::string answer_with(const std::string& additional, char count) {
  const std::string query = query_with("");
  const Record record{.owner = "www.example",
                      .type = type::kA,
                      .ttl_s = 60,
                      .address = Address::loopback(Family::ipv4)};
  std::string answer = make_answer(query, *parse(query), Rcode::no_error, {&record, 1});
  answer[11] = count;
  return answer + additional;
}

std::string forwarded(const std::string& query) { return *forwarded_query(0, *parse(query)); }

TEST(Edns, options_and_ids_of_clients_are_not_forwarded) {
  const std::string plain = forwarded(query_with(opt("")));
  EXPECT_EQ(forwarded(query_with(opt(kCookie), 9)), plain);
  EXPECT_EQ(plain.find("salt"), std::string::npos);
  const auto parsed = parse(plain);
  ASSERT_TRUE(parsed && parsed->edns);
  EXPECT_EQ(parsed->edns->udp_bytes, kOwnUdpBytes);
  EXPECT_EQ(parsed->question.name, "www.example");
}

TEST(Edns, what_an_answer_depends_on_is_forwarded) {
  const auto no_edns = parse(forwarded(query_with("")));
  EXPECT_FALSE(no_edns->edns);
  EXPECT_TRUE(no_edns->recursion_desired && !no_edns->checking_disabled);
  EXPECT_TRUE(parse(forwarded(query_with(opt("", 0, true))))->edns->dnssec_ok);
  std::string flags = query_with("");
  flags[2] = 0;       // without RD
  flags[3] = '\x30';  // AD and CD
  const auto parsed = parse(forwarded(flags));
  EXPECT_TRUE(!parsed->recursion_desired && parsed->checking_disabled && parsed->authentic_data);
}

TEST(Edns, a_servers_options_are_taken_off) {
  const std::string plain = answer_with("", 0);
  EXPECT_EQ(without_edns(answer_with(opt(kCookie), 1)), plain);
  EXPECT_EQ(without_edns(plain), plain);
  EXPECT_EQ(without_edns(plain + "rest"), plain);
  // What stands behind it might point to what stood before it.
  const std::string glue = "\xc0\x0c\0\x10\0\x01\0\0\0\x01\0\x01x"s;
  EXPECT_EQ(without_edns(answer_with(glue + opt(kCookie) + glue, 3)), answer_with(glue, 1));
}

TEST(Edns, an_answer_has_it_where_the_query_had) {
  const std::string plain = answer_with("", 0);
  EXPECT_EQ(with_edns_for(plain, *parse(query_with(""))), plain);
  const std::string answer = with_edns_for(plain, *parse(query_with(opt(kCookie, 0, true))));
  const auto parsed = parse(answer);
  ASSERT_TRUE(parsed && parsed->edns);
  EXPECT_TRUE(parsed->edns->dnssec_ok);
  EXPECT_EQ(answer.find("salt"), std::string::npos);
  const std::string longest(kLongestMessage - 5, '\0');
  EXPECT_EQ(with_edns_for(longest, *parse(query_with(opt("")))).size(), longest.size());
}

TEST(Edns, extended_rcode_is_read) {
  EXPECT_EQ(parse(answer_with(opt("", 1), 1))->edns->high_rcode, 1);
}

}  // namespace
}  // namespace shunt::dns
