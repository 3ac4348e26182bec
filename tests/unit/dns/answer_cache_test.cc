// SPDX-License-Identifier: GPL-2.0-only
#include "dns/answer_cache.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

const AnswerCache::Time kNow{std::chrono::hours(1)};

struct Query {
  explicit Query(const char* name, std::uint16_t id = 7)
      : bytes(*dns::make_query(id, {.name = name, .type = dns::type::kA}, 0)),
        message(*dns::parse(bytes)) {}
  std::string bytes;
  dns::Message message;

  [[nodiscard]] std::string answer(std::uint32_t ttl_s,
                                   dns::Rcode rcode = dns::Rcode::no_error) const {
    const dns::Record record{.owner = message.question.name,
                             .type = dns::type::kA,
                             .ttl_s = ttl_s,
                             .address = Address::loopback(Family::ipv4)};
    return dns::make_answer(bytes, message, rcode, {&record, 1});
  }
};

void store(AnswerCache& cache, const Query& query, const std::string& answer) {
  cache.store(query.message, answer, *dns::parse(answer), kNow);
}

TEST(AnswerCache, answer_has_the_id_and_letters_of_its_query_and_its_age) {
  AnswerCache cache;
  const Query first("www.example");
  store(cache, first, first.answer(100));
  Query second("www.example", 9);
  second.bytes[dns::kHeaderBytes + 1] = 'W';
  const auto found =
      cache.find(second.bytes, second.message, kNow + std::chrono::milliseconds(30'900));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->substr(dns::kHeaderBytes + 1, 3), "Www");
  const auto parsed = dns::parse(*found);
  EXPECT_EQ(parsed->id, 9);
  EXPECT_EQ(parsed->ttl_s, 70U);
}

TEST(AnswerCache, answer_goes_when_its_time_is_over) {
  AnswerCache cache;
  const Query query("www.example");
  store(cache, query, query.answer(10));
  EXPECT_TRUE(cache.find(query.bytes, query.message, kNow + std::chrono::seconds(9)));
  EXPECT_FALSE(cache.find(query.bytes, query.message, kNow + std::chrono::seconds(10)));
  EXPECT_EQ(cache.size(), 0U);
}

TEST(AnswerCache, no_answer_is_kept_longer_than_the_limit) {
  AnswerCache cache;
  const Query query("www.example");
  store(cache, query, query.answer(1'000'000));
  EXPECT_FALSE(
      cache.find(query.bytes, query.message, kNow + std::chrono::seconds(limits::kDnsCachedS)));
}

TEST(AnswerCache, failures_and_truncated_answers_are_not_kept) {
  AnswerCache cache;
  const Query query("www.example");
  store(cache, query, query.answer(10, dns::Rcode::server_failure));
  store(cache, query, query.answer(0));
  store(cache, query, dns::make_truncated(query.bytes, query.message));
  EXPECT_EQ(cache.size(), 0U);
}

TEST(AnswerCache, queries_that_differ_have_their_own_answers) {
  AnswerCache cache;
  const Query query("www.example");
  store(cache, query, query.answer(10));
  const Query other("mail.example");
  EXPECT_FALSE(cache.find(other.bytes, other.message, kNow));
  const std::string edns = *dns::make_query(7, query.message.question, 1232);
  EXPECT_FALSE(cache.find(edns, *dns::parse(edns), kNow));
}

TEST(AnswerCache, least_recently_used_goes_first) {
  AnswerCache cache(2);
  const Query a("a.example");
  const Query b("b.example");
  const Query c("c.example");
  store(cache, a, a.answer(10));
  store(cache, b, b.answer(10));
  EXPECT_TRUE(cache.find(a.bytes, a.message, kNow));
  store(cache, c, c.answer(10));
  EXPECT_FALSE(cache.find(b.bytes, b.message, kNow));
  EXPECT_TRUE(cache.find(a.bytes, a.message, kNow));
}

TEST(AnswerCache, bytes_are_bounded) {
  const Query a("a.example");
  AnswerCache cache(100, a.answer(10).size());
  store(cache, a, a.answer(10));
  EXPECT_EQ(cache.size(), 1U);
  const Query b("b.example");
  store(cache, b, b.answer(10));
  EXPECT_EQ(cache.size(), 1U);
  EXPECT_TRUE(cache.find(b.bytes, b.message, kNow));
}

}  // namespace
}  // namespace shunt
