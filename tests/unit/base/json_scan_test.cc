// SPDX-License-Identifier: GPL-2.0-only
#include "base/json_scan.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace shunt {
namespace {

/// Each scalar as "KEY.KEY=TEXT", with the element it is in.
std::vector<std::string> all_of(std::string_view json, bool& whole) {
  std::vector<std::string> found;
  whole = scan_json(json, [&](const JsonScalar& scalar) {
    std::string line = std::to_string(scalar.element) + " ";
    for (const std::string& key : scalar.keys) line += key + ".";
    line += scalar.is_string ? "=\"" : "=";
    line += scalar.text;
    found.push_back(line);
  });
  return found;
}

TEST(JsonScan, scalars_stand_at_their_keys) {
  bool whole = false;
  const auto found =
      all_of(R"( {"ID":"ab","State":{"Running":true,"Pid":4711,"x":[]},"n":null,"e":{}} )", whole);
  EXPECT_TRUE(whole);
  EXPECT_EQ(found, (std::vector<std::string>{"0 ID.=\"ab", "0 State.Running.=true",
                                             "0 State.Pid.=4711", "0 n.=null"}));
}

TEST(JsonScan, elements_of_the_outermost_array_are_counted) {
  bool whole = false;
  const auto found =
      all_of(R"([{"id":"a","names":["x","y"]},{"id":"b","names":["z"]},[1,[2]],3])", whole);
  EXPECT_TRUE(whole);
  EXPECT_EQ(found, (std::vector<std::string>{"0 id.=\"a", "0 names.=\"x", "0 names.=\"y",
                                             "1 id.=\"b", "1 names.=\"z", "2 =1", "2 =2", "3 =3"}));
}

TEST(JsonScan, strings_keep_their_escapes) {
  bool whole = false;
  EXPECT_EQ(all_of(R"({"a\"b":"c\\d\"e"})", whole),
            (std::vector<std::string>{R"(0 a\"b.="c\\d\"e)"}));
  EXPECT_TRUE(whole);
}

TEST(JsonScan, what_is_no_json_is_said) {
  for (const std::string_view json :
       {"", "{", "[", "{\"a\"}", "{\"a\":}", "{\"a\":1", "[1 2]", "[1,]", "{\"a\":1,}", "\"a",
        "tru", "nul", "{a:1}", "[1]]", "1 2", "\"\n\"", "{\"a\":1]", "[}", "+x"}) {
    bool whole = true;
    (void)all_of(json, whole);
    EXPECT_FALSE(whole) << json;
  }
}

TEST(JsonScan, depth_is_bounded) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + "1" + std::string(depth, ']');
  };
  bool whole = false;
  (void)all_of(nested(kMostJsonDepth), whole);
  EXPECT_TRUE(whole);
  (void)all_of(nested(kMostJsonDepth + 1), whole);
  EXPECT_FALSE(whole);
}

}  // namespace
}  // namespace shunt
