// SPDX-License-Identifier: GPL-2.0-only
#include "policy/mmdb.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error_numbers.h"
#include "unit/policy/mmdb_writer.h"

namespace shunt {
namespace {

using testing::HasSubstr;

std::shared_ptr<const Mmdb> parsed(const mmdb::Writer& writer) {
  auto database = Mmdb::parse(writer.bytes(), {.path = "test.mmdb"});
  EXPECT_TRUE(database) << (database ? "" : database.error().message);
  return database.value_or(nullptr);
}

std::string country(const Mmdb& database, const char* address) {
  const auto code = database.country(*Address::parse(address));
  return code ? std::string(code->data(), code->size()) : "none";
}

std::uint32_t system_of(const Mmdb& database, const char* address) {
  return database.autonomous_system(*Address::parse(address)).value_or(0);
}

TEST(Mmdb, finds_the_country_in_every_record_size) {
  for (const unsigned bits : {24U, 28U, 32U}) {
    mmdb::Writer writer(bits, 6);
    writer.add("192.0.2.0/24", mmdb::country("DE"));
    writer.add("198.51.100.128/25", mmdb::country("AT"));
    writer.add("2001:db8::/32", mmdb::country("CH"));
    const auto database = parsed(writer);
    ASSERT_NE(database, nullptr);
    EXPECT_EQ(country(*database, "192.0.2.77"), "DE") << bits;
    EXPECT_EQ(country(*database, "198.51.100.200"), "AT") << bits;
    EXPECT_EQ(country(*database, "198.51.100.1"), "none") << bits;
    EXPECT_EQ(country(*database, "2001:db8:1::1"), "CH") << bits;
    EXPECT_EQ(country(*database, "2001:db9::1"), "none") << bits;
    EXPECT_EQ(country(*database, "::ffff:192.0.2.77"), "DE") << bits;
  }
}

TEST(Mmdb, of_ipv4_alone_knows_nothing_of_ipv6) {
  mmdb::Writer writer(24, 4);
  writer.add("192.0.2.0/24", mmdb::country("DE"));
  const auto database = parsed(writer);
  ASSERT_NE(database, nullptr);
  EXPECT_EQ(country(*database, "192.0.2.77"), "DE");
  EXPECT_EQ(country(*database, "2001:db8::1"), "none");
}

/// Records of 28 bits have their upper four in the byte between them.
TEST(Mmdb, reads_records_beyond_24_bits) {
  for (const unsigned bits : {28U, 32U}) {
    mmdb::Writer writer(bits, 4);
    writer.add("10.0.0.0/8", mmdb::head(4, 28) + std::string(28, 'x'));
    std::string filler;
    for (int i = 0; i < 66'000; ++i) filler += mmdb::text(std::string(284, 'x'));
    writer.add("11.0.0.0/8", filler);  // more than 16 MiB
    writer.add("12.0.0.0/8", mmdb::country("DE"));
    writer.add("13.0.0.0/8", mmdb::country("AT"));
    const auto database = parsed(writer);
    ASSERT_NE(database, nullptr);
    EXPECT_EQ(country(*database, "12.1.1.1"), "DE");
    EXPECT_EQ(country(*database, "13.1.1.1"), "AT");
  }
}

TEST(Mmdb, falls_back_to_where_an_address_is_registered) {
  mmdb::Writer writer(24, 4);
  writer.add("192.0.2.0/24",
             mmdb::map({{"registered_country", mmdb::map({{"iso_code", mmdb::text("NL")}})}}));
  EXPECT_EQ(country(*parsed(writer), "192.0.2.1"), "NL");
}

TEST(Mmdb, follows_pointers_once) {
  mmdb::Writer writer(24, 4);
  const std::string first = mmdb::country("DE");
  writer.add("10.0.0.0/8", first);
  writer.add("11.0.0.0/8", mmdb::pointer(0));
  const auto to_pointer = static_cast<unsigned>(first.size());
  writer.add("12.0.0.0/8", mmdb::pointer(to_pointer));
  writer.add("13.0.0.0/8", mmdb::pointer(2000));
  const auto database = parsed(writer);
  ASSERT_NE(database, nullptr);
  EXPECT_EQ(country(*database, "11.0.0.1"), "DE");
  EXPECT_EQ(country(*database, "12.0.0.1"), "none");
  EXPECT_EQ(country(*database, "13.0.0.1"), "none");
}

TEST(Mmdb, finds_the_autonomous_system) {
  mmdb::Writer writer(28, 6);
  writer.add("192.0.2.0/24",
             mmdb::map({{"autonomous_system_number", mmdb::number(64500)},
                        {"autonomous_system_organization", mmdb::text("Example")}}));
  writer.add("198.51.100.0/24",
             mmdb::map({{"autonomous_system_number", mmdb::number(1ULL << 40, 9)}}));
  const auto database = parsed(writer);
  ASSERT_NE(database, nullptr);
  EXPECT_EQ(system_of(*database, "192.0.2.1"), 64500U);
  EXPECT_EQ(system_of(*database, "198.51.100.1"), 0U);
  EXPECT_EQ(country(*database, "192.0.2.1"), "none");
}

TEST(Mmdb, looks_at_no_more_than_a_bounded_number_of_values) {
  mmdb::Writer writer(24, 4);
  writer.add("10.0.0.0/8", std::string("\xff\xff\xff\xff", 4) + std::string(40'000, '\x41'));
  std::string nested;
  for (int i = 0; i < 30'000; ++i) nested += mmdb::head(11, 1);
  writer.add("11.0.0.0/8", mmdb::map({{"country", nested}, {"iso_code", mmdb::text("DE")}}));
  const auto database = parsed(writer);
  ASSERT_NE(database, nullptr);
  EXPECT_EQ(country(*database, "10.0.0.1"), "none");
  EXPECT_EQ(country(*database, "11.0.0.1"), "none");
}

TEST(Mmdb, refuses_what_is_no_such_file) {
  const auto refused = [](std::string bytes) {
    const auto database = Mmdb::parse(std::move(bytes), {.path = "test.mmdb"});
    return !database && database.error().number == error_number::kAddressDatabase;
  };
  EXPECT_TRUE(refused(""));
  EXPECT_TRUE(refused("\xab\xcd\xefMaxMind.com"));
  EXPECT_TRUE(refused(std::string(200'000, 'x')));
  mmdb::Writer newer(24, 4);
  newer.major_version = 3;
  EXPECT_TRUE(refused(newer.bytes()));
  mmdb::Writer larger(24, 4);
  larger.claimed_nodes = 1'000'000;
  EXPECT_TRUE(refused(larger.bytes()));
  EXPECT_TRUE(refused(mmdb::Writer(26, 4).bytes()));
  EXPECT_TRUE(refused(mmdb::Writer(24, 5).bytes()));
}

TEST(Mmdb, that_is_cut_anywhere_is_refused_or_answers) {
  mmdb::Writer writer(24, 6);
  writer.add("192.0.2.0/24", mmdb::country("DE"));
  const std::string whole = writer.bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto database = Mmdb::parse(whole.substr(0, size), {.path = "test.mmdb"});
    if (database) EXPECT_THAT(country(**database, "192.0.2.1"), testing::AnyOf("DE", "none"));
  }
}

TEST(Mmdb, of_a_file_that_is_not_there_says_so) {
  const auto database = Mmdb::open("/no/such/file.mmdb");
  ASSERT_FALSE(database);
  EXPECT_THAT(database.error().text(), HasSubstr("/no/such/file.mmdb"));
  EXPECT_EQ(database.error().kind, Kind::configuration);
}

}  // namespace
}  // namespace shunt
