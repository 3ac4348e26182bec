// SPDX-License-Identifier: GPL-2.0-only
#include "base/counters.h"

#include <gtest/gtest.h>

#include <set>

namespace shunt {
namespace {

TEST(Counters, count_what_they_are_told) {
  const auto before = counted(Counter::log_lines_dropped);
  count(Counter::log_lines_dropped);
  count(Counter::log_lines_dropped, 41);
  EXPECT_EQ(counted(Counter::log_lines_dropped), before + 42);
}

TEST(Counters, have_distinct_names_in_the_order_of_the_enum) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kCounters; ++i) {
    names.insert(counter_name(static_cast<Counter>(i)));
  }
  EXPECT_EQ(names.size(), kCounters);
  EXPECT_EQ(counter_name(Counter::accepts_paused), "accepts_paused");
  EXPECT_EQ(counter_name(Counter::udp_client_over_cap), "udp_client_over_cap");
  EXPECT_EQ(counter_name(Counter::log_flows_forgotten), "log_flows_forgotten");
}

}  // namespace
}  // namespace shunt
