// SPDX-License-Identifier: GPL-2.0-only
#include "policy/host_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::uint32_t> found(const HostIndex& index, std::string_view name) {
  std::vector<std::uint32_t> terms;
  index.find(name, terms);
  std::ranges::sort(terms);
  return terms;
}

TEST(HostIndex, finds_names_and_the_domains_above_them) {
  HostIndex index;
  index.add("a.example", false, 1);
  index.add("a.example", true, 2);
  index.add("example", true, 3);
  index.add("x.a.example", false, 4);
  index.build();
  EXPECT_THAT(found(index, "a.example"), ElementsAre(1, 3));
  EXPECT_THAT(found(index, "x.a.example"), ElementsAre(2, 3, 4));
  EXPECT_THAT(found(index, "z.y.x.a.example"), ElementsAre(2, 3));
  EXPECT_THAT(found(index, "example"), IsEmpty());
  EXPECT_THAT(found(index, "xa.example"), ElementsAre(3));
  EXPECT_THAT(found(index, ""), IsEmpty());
  EXPECT_THAT(found(index, "...."), IsEmpty());
}

TEST(HostIndex, keeps_each_term_of_a_name_once) {
  HostIndex index;
  for (const std::uint32_t term : {7U, 5U, 7U, 5U}) index.add("a.example", false, term);
  index.build();
  EXPECT_THAT(found(index, "a.example"), ElementsAre(5, 7));
}

TEST(HostIndex, finds_what_means_everything_below_a_domain) {
  HostIndex index;
  index.add("a.example", true, 1);
  index.add("x.a.example", true, 2);
  index.add("x.a.example", false, 3);
  index.build();
  std::vector<std::uint32_t> terms;
  index.find_below("x.a.example", terms);
  std::ranges::sort(terms);
  EXPECT_THAT(terms, ElementsAre(1, 2));
}

TEST(HostIndex, finds_each_of_many) {
  HostIndex index;
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    index.add("host" + std::to_string(i) + ".example", i % 2 == 0, i);
  }
  index.build();
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    const std::string name = (i % 2 == 0 ? "www.host" : "host") + std::to_string(i) + ".example";
    EXPECT_THAT(found(index, name), ElementsAre(i));
  }
}

TEST(HostIndex, without_names_finds_none) {
  HostIndex index;
  index.build();
  EXPECT_THAT(found(index, "a.example"), IsEmpty());
}

}  // namespace
}  // namespace shunt
