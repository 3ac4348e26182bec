// SPDX-License-Identifier: GPL-2.0-only
#include "dns/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dns/name.h"

namespace shunt::dns {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::Field;
using testing::SizeIs;

/// Header: id 0x1234, then flags and the four counts.
std::string header(std::uint16_t flags, char questions, char answers, char authority = 0,
                   char additional = 0) {
  std::string out = "\x12\x34"s;
  out += static_cast<char>(flags >> 8);
  out += static_cast<char>(flags & 0xff);
  for (const char count : {questions, answers, authority, additional}) {
    out += '\0';
    out += count;
  }
  return out;
}

const std::string kWwwExample =
    "\x03WwW\x07"
    "Example\0"s;
const std::string kAQuestion = kWwwExample + "\0\x01\0\x01"s;
const std::string kOpt = "\0\0\x29\x10\0\0\0\x80\0\0\0"s;

std::string a_record(const std::string& owner, const std::string& data = "\xc0\0\x02\x07"s) {
  return owner + "\0\x01\0\x01\0\0\x01\x2c\0\x04"s + data;
}

TEST(DnsMessage, query_has_its_name_in_lower_case) {
  const auto query = parse(header(0x0100, 1, 0, 0, 1) + kAQuestion + kOpt);
  ASSERT_TRUE(query);
  EXPECT_EQ(query->id, 0x1234);
  EXPECT_FALSE(query->response);
  EXPECT_TRUE(query->recursion_desired);
  EXPECT_EQ(query->question, (Question{.name = "www.example", .type = type::kA}));
  EXPECT_EQ(query->question_end, kHeaderBytes + kAQuestion.size());
  ASSERT_TRUE(query->edns);
  EXPECT_EQ(query->edns->udp_bytes, 4096);
  EXPECT_TRUE(query->edns->dnssec_ok);
  EXPECT_EQ(udp_capacity(*query), 4096U);
}

TEST(DnsMessage, query_without_edns_takes_512_bytes) {
  EXPECT_EQ(udp_capacity(*parse(header(0x0100, 1, 0) + kAQuestion)), 512U);
}

TEST(DnsMessage, answer_has_its_addresses) {
  const std::string v6 =
      "\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01";
  const auto answer = parse(header(0x8180, 1, 2) + kAQuestion + a_record("\xc0\x0c") + v6);
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->response);
  ASSERT_THAT(answer->answers, SizeIs(2));
  EXPECT_EQ(answer->answers[0].owner, "www.example");
  EXPECT_EQ(answer->answers[0].address.text(), "192.0.2.7");
  EXPECT_EQ(answer->answers[0].ttl_s, 300U);
  EXPECT_EQ(answer->answers[1].address.text(), "2001:db8::1");
  EXPECT_EQ(answer->ttl_s, 60U);
}

TEST(DnsMessage, addresses_behind_aliases_belong_to_the_question_and_others_do_not) {
  const std::string alias =
      "\xc0\x0c\0\x05\0\x01\0\0\0\x0a\0\x04\x01"
      "b\xc0\x10"s;  // b.example
  const std::string other = a_record("\x05other\0"s, "\xc6\x33\x64\x01"s);
  const auto answer = parse(header(0x8180, 1, 3) + kAQuestion + other + alias +
                            a_record("\x01"
                                     "B\x07"
                                     "example\0"s));
  ASSERT_TRUE(answer);
  const auto resolved = resolved_addresses(*answer);
  ASSERT_THAT(resolved, SizeIs(1));
  EXPECT_EQ(resolved[0].address.text(), "192.0.2.7");
  EXPECT_EQ(resolved[0].ttl_s, 10U);
}

TEST(DnsMessage, circle_of_aliases_ends) {
  const std::string alias = "\xc0\x0c\0\x05\0\x01\0\0\0\x0a\0\x02\xc0\x0c"s;
  const auto answer = parse(header(0x8180, 1, 1) + kAQuestion + alias);
  ASSERT_TRUE(answer);
  EXPECT_THAT(resolved_addresses(*answer), SizeIs(0));
}

TEST(DnsMessage, absence_holds_as_long_as_its_soa_says) {
  const std::string soa =
      "\xc0\x10\0\x06\0\x01\0\0\x0e\x10\0\x16\0\0"s + std::string(16, '\0') + "\0\0\0\x1e"s;
  const auto answer = parse(header(0x8183, 1, 0, 1) + kAQuestion + soa);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->rcode, static_cast<std::uint8_t>(Rcode::name_error));
  EXPECT_EQ(answer->ttl_s, 30U);
  EXPECT_EQ(parse(header(0x8183, 1, 0) + kAQuestion)->ttl_s, std::nullopt);
}

TEST(DnsMessage, without_exactly_one_question_is_refused) {
  EXPECT_FALSE(parse(header(0x0100, 0, 0)));
  EXPECT_FALSE(parse(header(0x0100, 2, 0) + kAQuestion + kAQuestion));
}

TEST(DnsMessage, cut_anywhere_is_refused) {
  const std::string whole = header(0x8180, 1, 1, 0, 1) + kAQuestion + a_record("\xc0\x0c") + kOpt;
  ASSERT_TRUE(parse(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse(std::string_view(whole).substr(0, size))) << size;
  }
}

TEST(DnsMessage, pointer_leads_back_only) {
  // To itself, ahead, and into the header.
  for (const char* owner : {"\xc0\x1d", "\xc0\x1f", "\xc0\x02"}) {
    EXPECT_FALSE(parse(header(0x8180, 1, 1) + kAQuestion + a_record(owner))) << owner;
  }
}

TEST(DnsMessage, pointer_leads_to_what_ends_before_it) {
  // The last byte of the question as a length: that label would be the pointer's own first byte.
  EXPECT_FALSE(parse(header(0x8180, 1, 1) + kAQuestion + a_record("\xc0\x1c")));
  EXPECT_TRUE(parse(header(0x8180, 1, 1) + kAQuestion + a_record("\xc0\x10")));
}

TEST(DnsMessage, pointers_of_one_name_are_counted) {
  std::string message(kHeaderBytes, '\0');
  message +=
      "\x01"
      "a\0"s;
  std::size_t last = kHeaderBytes;
  for (int i = 0; i < 32; ++i) {
    const std::size_t here = message.size();
    message += static_cast<char>(0xc0 | last >> 8);
    message += static_cast<char>(last & 0xff);
    last = here;
  }
  EXPECT_EQ(read_name(message, last), "a");
  message += static_cast<char>(0xc0 | last >> 8);
  message += static_cast<char>(last & 0xff);
  EXPECT_EQ(read_name(message, message.size() - 2), std::nullopt);
}

TEST(DnsMessage, second_opt_record_is_refused) {
  EXPECT_FALSE(parse(header(0x0100, 1, 0, 0, 2) + kAQuestion + kOpt + kOpt));
}

TEST(DnsMessage, address_of_the_wrong_length_is_refused) {
  const std::string five = "\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x05"s + "12345";
  EXPECT_FALSE(parse(header(0x8180, 1, 1) + kAQuestion + five));
}

TEST(DnsName, unusual_bytes_are_escaped_and_come_back) {
  const std::string wire =
      "\x06"
      "a.b\\\x07\xff\x01 \0"s;
  std::string message(kHeaderBytes, '\0');
  message += wire;
  const auto text = read_name(message, kHeaderBytes);
  EXPECT_EQ(text, R"(a\.b\\\007\255.\032)");
  EXPECT_EQ(name_to_wire(*text), wire);
}

TEST(DnsName, root_is_empty) {
  std::string message(kHeaderBytes + 1, '\0');
  EXPECT_EQ(read_name(message, kHeaderBytes), "");
  EXPECT_EQ(name_to_wire(""), "\0"s);
}

TEST(DnsName, longest_name_has_255_bytes) {
  const std::string label(63, 'a');
  const std::string most = label + '.' + label + '.' + label + '.' + std::string(61, 'b');
  ASSERT_TRUE(name_to_wire(most));
  EXPECT_EQ(name_to_wire(most)->size(), kLongestName);
  EXPECT_FALSE(name_to_wire(most + "b"));
  std::string message(kHeaderBytes, '\0');
  message += *name_to_wire(most);
  EXPECT_EQ(read_name(message, kHeaderBytes), most);
  message.insert(kHeaderBytes, "\x01x"s);
  EXPECT_FALSE(read_name(message, kHeaderBytes));
}

TEST(DnsName, text_that_is_no_name_has_no_wire) {
  for (const char* text : {".", "a..b", "a.", ".a", "\\", "a\\25", "\\256"}) {
    EXPECT_FALSE(name_to_wire(text)) << text;
  }
  EXPECT_FALSE(name_to_wire(std::string(64, 'a')));
}

TEST(DnsAnswer, echoes_the_query_with_the_case_of_its_letters) {
  const std::string query = header(0x0110, 1, 0, 0, 1) + kAQuestion + kOpt;
  const Record record{.owner = "www.example",
                      .type = type::kA,
                      .ttl_s = 60,
                      .address = *Address::parse("198.18.0.5")};
  const std::string answer = make_answer(query, *parse(query), Rcode::no_error, {&record, 1});
  EXPECT_EQ(answer.substr(kHeaderBytes, kAQuestion.size()), kAQuestion);
  const auto parsed = parse(answer);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->id, 0x1234);
  EXPECT_TRUE(parsed->response && parsed->recursion_desired && parsed->checking_disabled);
  EXPECT_EQ(parsed->rcode, 0);
  ASSERT_TRUE(parsed->edns);
  EXPECT_EQ(parsed->edns->udp_bytes, 1232);
  EXPECT_TRUE(parsed->edns->dnssec_ok);
  EXPECT_THAT(parsed->answers, ElementsAre(Field(&Record::owner, "www.example")));
  EXPECT_EQ(parsed->answers[0].address.text(), "198.18.0.5");
}

TEST(DnsAnswer, has_no_edns_where_the_query_had_none) {
  const std::string query = header(0x0100, 1, 0) + kAQuestion;
  EXPECT_FALSE(parse(make_answer(query, *parse(query), Rcode::refused))->edns);
  EXPECT_EQ(parse(make_answer(query, *parse(query), Rcode::refused))->rcode, 5);
}

TEST(DnsAnswer, to_an_unknown_version_of_edns_is_badvers) {
  std::string opt = kOpt;
  opt[6] = '\x01';
  const std::string query = header(0x0100, 1, 0, 0, 1) + kAQuestion + opt;
  const std::string answer = make_answer(query, *parse(query), Rcode::no_error);
  EXPECT_EQ(answer[answer.size() - 6], '\x01') << "the upper bits of 16";
  EXPECT_EQ(parse(answer)->rcode, 0);
  EXPECT_EQ(parse(answer)->edns->version, 0);
}

TEST(DnsAnswer, truncated_says_so) {
  const std::string query = header(0x0100, 1, 0) + kAQuestion;
  EXPECT_TRUE(parse(make_truncated(query, *parse(query)))->truncated);
}

TEST(DnsAnswer, pointer_record_holds_its_name) {
  const std::string query = header(0x0100, 1, 0) +
                            "\x01"
                            "5\x07in-addr\x04"
                            "arpa\0\0\x0c\0\x01"s;
  const Record record{
      .owner = "5.in-addr.arpa", .type = type::kPtr, .ttl_s = 60, .target = "www.example"};
  const auto parsed = parse(make_answer(query, *parse(query), Rcode::no_error, {&record, 1}));
  ASSERT_THAT(parsed->answers, SizeIs(1));
  EXPECT_EQ(parsed->answers[0].target, "www.example");
}

TEST(DnsAnswer, format_error_is_for_queries_only) {
  const auto answer = make_format_error(header(0x0100, 0, 0) + "x");
  EXPECT_EQ(answer, header(0x8101, 0, 0));
  EXPECT_FALSE(make_format_error(header(0x8100, 0, 0)));
  EXPECT_FALSE(make_format_error("short"));
}

TEST(DnsQuery, is_what_it_was_made_of) {
  const Question question{.name = "www.example", .type = type::kAaaa};
  const auto parsed = parse(*make_query(7, question, 1232));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->id, 7);
  EXPECT_EQ(parsed->question, question);
  EXPECT_TRUE(parsed->recursion_desired && !parsed->response);
  EXPECT_EQ(parsed->edns->udp_bytes, 1232);
  EXPECT_FALSE(parse(*make_query(7, question, 0))->edns);
  EXPECT_FALSE(make_query(7, {.name = "a..b"}, 0));
}

TEST(DnsAge, is_taken_off_every_ttl_but_not_off_opt) {
  const std::string short_one = "\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\xc0\0\x02\x08"s;
  std::string answer =
      header(0x8180, 1, 2, 0, 1) + kAQuestion + a_record("\xc0\x0c") + short_one + kOpt;
  age(answer, 10);
  set_id(answer, 0xabcd);
  const auto parsed = parse(answer);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->id, 0xabcd);
  EXPECT_EQ(parsed->answers[0].ttl_s, 290U);
  EXPECT_EQ(parsed->answers[1].ttl_s, 0U);
  EXPECT_TRUE(parsed->edns->dnssec_ok);
}

TEST(DnsReverse, names_of_addresses) {
  EXPECT_EQ(reverse_address("7.2.0.192.in-addr.arpa")->text(), "192.0.2.7");
  EXPECT_EQ(
      reverse_address("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa")
          ->text(),
      "2001:db8::1");
  for (const char* name : {"2.0.192.in-addr.arpa", "7.2.0.192.5.in-addr.arpa", "in-addr.arpa",
                           "256.2.0.192.in-addr.arpa", "07.2.0.192.in-addr.arpa",
                           "1.8.b.d.0.ip6.arpa", "7.2.0.192", ".in-addr.arpa"}) {
    EXPECT_FALSE(reverse_address(name)) << name;
  }
}

TEST(DnsStream, messages_are_told_apart_by_their_length) {
  const std::string stream = framed("abc") + framed("");
  EXPECT_EQ(stream,
            "\0\x03"
            "abc\0\0"s);
  EXPECT_EQ(first_framed(stream), "abc");
  EXPECT_EQ(first_framed(stream.substr(0, 4)), std::nullopt);
  EXPECT_EQ(first_framed(stream.substr(5)), "");
  EXPECT_EQ(first_framed("\0"s), std::nullopt);
}

}  // namespace
}  // namespace shunt::dns
