// SPDX-License-Identifier: GPL-2.0-only
#include "control/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shunt::control {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(ControlMessage, an_answer_survives_the_way) {
  Error error = make_error(Kind::configuration, 43, "off", "mend it");
  error.place = "shunt.toml:1:2\n1 | x\n  | ^";
  const auto answer =
      decode(encode({.exit_code = 3, .texts = {"one", "two\nlines"}, .errors = {error}}));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->exit_code, 3);
  EXPECT_THAT(answer->texts, ElementsAre("one", "two\nlines"));
  ASSERT_THAT(answer->errors, SizeIs(1));
  EXPECT_EQ(answer->errors[0].message, "off");
  EXPECT_EQ(answer->errors[0].place, error.place);
  EXPECT_EQ(answer->errors[0].kind, Kind::configuration);
}

TEST(ControlMessage, a_part_of_an_answer_is_none) {
  const std::string whole = encode({.exit_code = 0, .texts = {"text"}, .errors = {}});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(decode(std::string_view(whole).substr(0, size))) << size;
  }
  EXPECT_FALSE(decode(whole + "text 1\nx")) << "more behind the end";
  EXPECT_FALSE(decode("text 99999999999999999999\nx"));
  EXPECT_FALSE(decode("text\n"));
}

TEST(ControlMessage, a_kind_of_a_later_version_is_passed_over) {
  EXPECT_TRUE(decode("colour 3\nreddone 1\n0"));
}

TEST(ControlMessage, an_answer_that_is_too_long_still_ends) {
  const Answer huge{
      .exit_code = 1, .texts = {std::string(kAnswerBytes, 'x'), "kept"}, .errors = {}};
  const std::string bytes = encode(huge);
  EXPECT_LE(bytes.size(), kAnswerBytes);
  const auto answer = decode(bytes);
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->texts, ElementsAre("kept"));
}

TEST(ControlMessage, a_request_is_words_of_printable_ascii) {
  EXPECT_THAT(words_of("  reload   close-changed "), ElementsAre("reload", "close-changed"));
  EXPECT_THAT(words_of(""), IsEmpty());
  EXPECT_THAT(words_of("reload\x1b[2J"), IsEmpty());
}

}  // namespace
}  // namespace shunt::control
