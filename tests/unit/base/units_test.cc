// SPDX-License-Identifier: GPL-2.0-only
#include "base/units.h"

#include <gtest/gtest.h>

namespace shunt {
namespace {

TEST(Units, durations_are_read_with_their_unit) {
  EXPECT_EQ(parse_duration_ms("0ms"), 0U);
  EXPECT_EQ(parse_duration_ms("200ms"), 200U);
  EXPECT_EQ(parse_duration_ms("10s"), 10'000U);
  EXPECT_EQ(parse_duration_ms("5m"), 300'000U);
  EXPECT_EQ(parse_duration_ms("2h"), 7'200'000U);
  EXPECT_EQ(parse_duration_ms("49d"), 4'233'600'000U);
}

TEST(Units, a_duration_without_a_unit_is_refused_with_the_fix) {
  const auto duration = parse_duration_ms("300");
  ASSERT_FALSE(duration);
  EXPECT_EQ(duration.error().help, "300ms or 300s");
  EXPECT_EQ(duration.error().kind, Kind::usage);
}

TEST(Units, malformed_durations_are_refused) {
  for (const char* text : {"", "ms", "-1s", "+1s", " 1s", "1 s", "1.5s", "1sec", "1S", "1s ", "50d",
                           "99999999999999999999ms", "99999999999999999999d"}) {
    EXPECT_FALSE(parse_duration_ms(text)) << text;
  }
}

TEST(Units, counts_are_whole_numbers_that_fit) {
  EXPECT_EQ(parse_count("0"), 0U);
  EXPECT_EQ(parse_count("4294967295"), 4294967295U);
  for (const char* text : {"", "4294967296", "-1", "+1", "0x10", "1k", " 1", "1 "}) {
    EXPECT_FALSE(parse_count(text)) << text;
  }
}

TEST(Units, durations_as_they_are_typed) {
  EXPECT_EQ(typed_duration(0), "0s");
  EXPECT_EQ(typed_duration(200), "200ms");
  EXPECT_EQ(typed_duration(60'000), "1m");
  EXPECT_EQ(typed_duration(61'000), "61s");
  EXPECT_EQ(typed_duration(172'800'000), "2d");
  EXPECT_EQ(typed_duration(4'294'967'295U), "49d");
}

TEST(Units, bytes_are_short_and_never_reach_a_thousand) {
  EXPECT_EQ(format_bytes(0), "0");
  EXPECT_EQ(format_bytes(999), "999");
  EXPECT_EQ(format_bytes(1000), "1.0k");
  EXPECT_EQ(format_bytes(1249), "1.2k");
  EXPECT_EQ(format_bytes(9960), "10k");
  EXPECT_EQ(format_bytes(88'123), "88k");
  EXPECT_EQ(format_bytes(999'499), "999k");
  EXPECT_EQ(format_bytes(999'500), "1.0M");
  EXPECT_EQ(format_bytes(3'400'000'000), "3.4G");
  EXPECT_EQ(format_bytes(18'446'744'073'709'551'615U), "18E");
}

TEST(Units, durations_are_shown_with_two_units_at_most) {
  EXPECT_EQ(format_duration_ms(0), "0 ms");
  EXPECT_EQ(format_duration_ms(84), "84 ms");
  EXPECT_EQ(format_duration_ms(999), "999 ms");
  EXPECT_EQ(format_duration_ms(1300), "1.3 s");
  EXPECT_EQ(format_duration_ms(9'960), "10 s");
  EXPECT_EQ(format_duration_ms(59'600), "1 min 0 s");
  EXPECT_EQ(format_duration_ms(125'000), "2 min 5 s");
  EXPECT_EQ(format_duration_ms(4'200'000), "1 h 10 min");
}

}  // namespace
}  // namespace shunt
