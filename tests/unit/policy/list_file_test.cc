// SPDX-License-Identifier: GPL-2.0-only
#include "policy/list_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error_numbers.h"

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names(std::string_view text) {
  const auto list = parse_name_list(text, "ads.txt");
  EXPECT_TRUE(list) << (list ? "" : list.error().message);
  std::vector<std::string> out;
  if (!list) return out;
  for (const ListedName& listed : *list) out.push_back((listed.below ? "*." : "") + listed.name);
  return out;
}

Error mistake(std::string_view text) {
  const auto list = parse_name_list(text, "ads.txt");
  EXPECT_FALSE(list) << text;
  return list ? Error{} : list.error();
}

TEST(NameList, has_a_name_a_line) {
  EXPECT_THAT(names("Ads.Example.\n\n# comment\n  *.track.example # all of it\r\nlast.example"),
              ElementsAre("ads.example", "*.track.example", "last.example"));
}

TEST(NameList, may_be_a_hosts_file) {
  EXPECT_THAT(names("127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n"
                    "0.0.0.0 ads.example www.ads.example # two\n:: six.example\n"),
              ElementsAre("ads.example", "www.ads.example", "six.example"));
}

TEST(NameList, takes_the_hosts_files_that_are_common) {
  EXPECT_THAT(names("\xef\xbb\xbf# Title: hosts\n127.0.0.1 localhost\n"
                    "fe80::1%lo0 localhost\nff00::0 ip6-mcastprefix\nff02::3 ip6-allhosts\n"
                    "0.0.0.0 0.0.0.0\n0.0.0.0 ads.example\n"),
              ElementsAre("ads.example"));
  EXPECT_THAT(names("\xef\xbb\xbf"
                    "ads.example\n"),
              ElementsAre("ads.example"));
}

TEST(NameList, mistakes_have_a_place) {
  const Error error = mistake("a.example\n  b..example\n");
  EXPECT_EQ(error.number, error_number::kListFile);
  EXPECT_EQ(error.place, "ads.txt:2:3\n2 |   b..example\n  |   ^^^^^^^^^^");
  EXPECT_THAT(mistake("||ads.example^\n").place, HasSubstr("ads.txt:1:1"));
  EXPECT_THAT(mistake("a.example b.example\n").place, HasSubstr("ads.txt:1:11"));
  EXPECT_THAT(mistake("0.0.0.0\n").place, HasSubstr("ads.txt:1:8"));
  EXPECT_THAT(mistake("10.0.0.0/8\n").place, HasSubstr("ads.txt:1:1"));
}

TEST(NetworkList, has_a_network_a_line) {
  const auto list = parse_network_list("10.0.0.0/8 # lan\n\n2001:db8::/32\n192.0.2.1", "n.txt");
  ASSERT_TRUE(list);
  std::vector<std::string> texts;
  for (const Network& network : *list) texts.push_back(network.text());
  EXPECT_THAT(texts, ElementsAre("10.0.0.0/8", "2001:db8::/32", "192.0.2.1"));
}

TEST(NetworkList, mistakes_have_a_place) {
  const auto list = parse_network_list("10.0.0.0/8\n10.0.0.0/33\n", "n.txt");
  ASSERT_FALSE(list);
  EXPECT_THAT(list.error().place, HasSubstr("n.txt:2:1"));
  EXPECT_FALSE(parse_network_list("10.0.0.0/8 10.1.0.0/16", "n.txt"));
}

}  // namespace
}  // namespace shunt
