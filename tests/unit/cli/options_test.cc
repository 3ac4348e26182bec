// SPDX-License-Identifier: GPL-2.0-only
#include "cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error_numbers.h"

namespace shunt::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Words = std::vector<std::string_view>;

constexpr std::string_view kColours[] = {"red", "green"};
constexpr Option kOptions[] = {
    {.name = "all", .short_name = 'a', .help = "everything"},
    {.name = "brief", .short_name = 'b', .help = "less"},
    {.name = "name",
     .short_name = 'n',
     .type = ValueType::text,
     .value = "NAME",
     .repeatable = true},
    {.name = "colour",
     .type = ValueType::choice,
     .value = "COLOUR",
     .fallback = "red",
     .choices = kColours},
    {.name = "wait",
     .short_name = 'w',
     .type = ValueType::duration,
     .value = "TIME",
     .fallback = "3s",
     .minimum = 10,
     .maximum = 60'000},
    {.name = "jobs", .type = ValueType::count, .value = "N", .minimum = 1},
};
constexpr Option kShared[] = {{.name = "json", .help = "as JSON"}};

constexpr Command kPlain = {
    .name = "plain",
    .usage = "[options] [FILE]",
    .options = kOptions,
    .shared_options = kShared,
    .maximum_words = 1,
};
constexpr Command kWrapper = {
    .name = "wrapper",
    .usage = "[options] CMD",
    .options = kOptions,
    .minimum_words = 1,
    .maximum_words = 100,
    .missing_word = "the command",
    .options_end_at_first_word = true,
};

Options parsed(const Command& command, const Words& arguments) {
  auto options = parse(command, arguments);
  EXPECT_TRUE(options) << (options ? "" : options.error().message);
  return options ? *std::move(options) : *parse(kPlain, {});
}

Error refused(const Command& command, const Words& arguments) {
  auto options = parse(command, arguments);
  EXPECT_FALSE(options);
  if (options) return {};
  EXPECT_EQ(options.error().kind, Kind::usage);
  EXPECT_FALSE(options.error().place.empty());
  return options.error();
}

TEST(Options, long_and_short_forms_mean_the_same) {
  for (const Words& arguments : {Words{"--name", "x"}, Words{"--name=x"}, Words{"-n", "x"},
                                 Words{"-nx"}, Words{"-abnx"}, Words{"-an", "x"}}) {
    EXPECT_THAT(parsed(kPlain, arguments).values("name"), ElementsAre("x"));
  }
  EXPECT_TRUE(parsed(kPlain, {"-ab"}).has("all"));
  EXPECT_TRUE(parsed(kPlain, {"-ab"}).has("brief"));
}

TEST(Options, what_is_not_given_has_its_default) {
  const Options options = parsed(kPlain, {});
  EXPECT_EQ(options.value("colour"), "red");
  EXPECT_EQ(options.duration_ms("wait"), 3000U);
  EXPECT_EQ(options.count("jobs"), 0U);
  EXPECT_EQ(options.value("name"), "");
  EXPECT_THAT(options.values("name"), IsEmpty());
  EXPECT_FALSE(options.has("colour"));
}

TEST(Options, shared_options_are_the_commands_own) {
  EXPECT_TRUE(parsed(kPlain, {"--json"}).has("json"));
}

TEST(Options, repeated_values_keep_their_order) {
  EXPECT_THAT(parsed(kPlain, {"-n", "1", "--name=2", "-n3"}).values("name"),
              ElementsAre("1", "2", "3"));
}

TEST(Options, an_option_that_counts_once_is_refused_twice) {
  EXPECT_EQ(refused(kPlain, {"--jobs", "1", "--jobs", "1"}).number, error_number::kOptionTwice);
  EXPECT_TRUE(parsed(kPlain, {"--all", "--all"}).has("all"));
}

TEST(Options, words_and_options_mix) {
  const Options options = parsed(kPlain, {"file", "--all"});
  EXPECT_THAT(options.words(), ElementsAre("file"));
  EXPECT_TRUE(options.has("all"));
}

TEST(Options, behind_two_dashes_everything_is_a_word) {
  EXPECT_THAT(parsed(kPlain, {"--", "--all"}).words(), ElementsAre("--all"));
  EXPECT_THAT(parsed(kPlain, {"-"}).words(), ElementsAre("-"));
}

TEST(Options, a_wrapper_ends_its_options_at_the_first_word) {
  const Options options = parsed(kWrapper, {"-a", "curl", "-b", "--colour", "--", "x"});
  EXPECT_TRUE(options.has("all"));
  EXPECT_FALSE(options.has("brief"));
  EXPECT_THAT(options.words(), ElementsAre("curl", "-b", "--colour", "--", "x"));
}

TEST(Options, a_wrapper_accepts_two_dashes_before_its_command) {
  const Options options = parsed(kWrapper, {"-a", "--", "--odd-name", "-b"});
  EXPECT_THAT(options.words(), ElementsAre("--odd-name", "-b"));
  EXPECT_FALSE(options.has("brief"));
}

TEST(Options, a_mistyped_option_is_never_the_command) {
  EXPECT_EQ(refused(kWrapper, {"--al", "curl"}).number, error_number::kUnknownOption);
  EXPECT_EQ(refused(kWrapper, {"-x", "curl"}).number, error_number::kUnknownOption);
}

TEST(Options, an_unknown_option_is_shown_in_its_place_with_a_suggestion) {
  const Error error = refused(kPlain, {"-a", "--colur=red", "x"});
  EXPECT_EQ(error.message, "unknown option \"--colur\"");
  EXPECT_EQ(error.place,
            "shunt plain -a --colur=red x\n"
            "               ^^^^^^^ did you mean \"--colour\"?");
}

TEST(Options, a_long_name_behind_one_dash_is_recognised) {
  EXPECT_THAT(refused(kPlain, {"-json"}).place, HasSubstr("did you mean \"--json\"?"));
}

TEST(Options, a_value_of_the_wrong_kind_is_refused) {
  EXPECT_EQ(refused(kPlain, {"--wait", "5"}).help, "5ms or 5s");
  EXPECT_EQ(refused(kPlain, {"--wait", "5ms"}).message, "--wait \"5ms\": at least 10ms");
  EXPECT_EQ(refused(kPlain, {"--wait", "61s"}).message, "--wait \"61s\": at most 1m");
  EXPECT_EQ(refused(kPlain, {"--jobs", "0"}).number, error_number::kBadValue);
  EXPECT_EQ(refused(kPlain, {"--jobs", "many"}).number, error_number::kBadValue);
  EXPECT_EQ(refused(kPlain, {"--name", ""}).number, error_number::kBadValue);
  EXPECT_THAT(refused(kPlain, {"--colour=gren"}).place,
              HasSubstr("               ^^^^ did you mean \"green\"?"));
}

TEST(Options, a_forgotten_value_is_noticed) {
  EXPECT_EQ(refused(kPlain, {"--name"}).number, error_number::kMissingValue);
  EXPECT_EQ(refused(kPlain, {"-n"}).number, error_number::kMissingValue);
  EXPECT_EQ(refused(kPlain, {"--name", "--all"}).number, error_number::kMissingValue);
  EXPECT_EQ(parsed(kPlain, {"--name=--all"}).value("name"), "--all");
  EXPECT_EQ(parsed(kPlain, {"--name", "-"}).value("name"), "-");
}

TEST(Options, a_flag_takes_no_value) {
  EXPECT_EQ(refused(kPlain, {"--all=yes"}).number, error_number::kUnexpectedWord);
}

TEST(Options, words_are_counted) {
  EXPECT_EQ(refused(kPlain, {"one", "two"}).number, error_number::kUnexpectedWord);
  const Error missing = refused(kWrapper, {"-a"});
  EXPECT_EQ(missing.number, error_number::kMissingWord);
  EXPECT_EQ(missing.message, "the command is missing");
  EXPECT_EQ(missing.place, "shunt wrapper -a\n                 ^");
}

TEST(Options, help_is_answered_before_mistakes_behind_it) {
  EXPECT_TRUE(parsed(kPlain, {"--help", "--nonsense"}).wants_help());
  EXPECT_TRUE(parsed(kWrapper, {"-h"}).wants_help());
  EXPECT_FALSE(parsed(kWrapper, {"ls", "-h"}).wants_help());
}

TEST(Options, can_be_said_again) {
  EXPECT_EQ(command_line(parsed(kPlain, {"-a", "-n", "it's me", "--name=-x", "-w5s"})),
            "plain --all --name 'it'\\''s me' --name=-x --wait 5s");
  EXPECT_EQ(command_line(parsed(kWrapper, {"-a", "ls", "-l", ""})), "wrapper --all -- ls -l ''");
  EXPECT_EQ(command_line(parsed(kPlain, {})), "plain");
}

TEST(Options, hostile_bytes_in_an_argument_are_shown_escaped) {
  EXPECT_THAT(refused(kPlain, {"--\033[2J"}).place, HasSubstr("--\\x1b[2J"));
}

TEST(OptionsDeath, asking_for_an_option_that_is_not_in_the_table_aborts) {
  EXPECT_DEATH((void)parsed(kPlain, {}).has("nonsense"), "no option --nonsense");
}

}  // namespace
}  // namespace shunt::cli
