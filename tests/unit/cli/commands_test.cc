// SPDX-License-Identifier: GPL-2.0-only
// What holds for the table of every command.
#include "cli/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "base/limits.h"
#include "base/units.h"
#include "cli/common_options.h"
#include "cli/help_text.h"
#include "cli/man_page.h"
#include "cli/place.h"

namespace shunt::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Commands, have_names_of_their_own_and_can_run) {
  std::set<std::string_view> names;
  for (const Command* command : commands()) {
    EXPECT_TRUE(names.insert(command->name).second) << command->name;
    EXPECT_NE(command->run, nullptr) << command->name;
    EXPECT_FALSE(command->summary.empty()) << command->name;
    EXPECT_FALSE(command->description.empty()) << command->name;
    EXPECT_LE(command->minimum_words, command->maximum_words) << command->name;
    EXPECT_TRUE(command->minimum_words == 0 || !command->missing_word.empty()) << command->name;
    EXPECT_EQ(find_command(command->name), command);
  }
}

TEST(Commands, options_are_unambiguous_and_explained) {
  for (const Command* command : commands()) {
    std::set<std::string_view> names = {"help"};
    std::set<char> letters = {'h'};
    for (const Option* option : all_options(*command)) {
      EXPECT_TRUE(names.insert(option->name).second) << option->name;
      EXPECT_TRUE(option->short_name == '\0' || letters.insert(option->short_name).second)
          << option->name;
      EXPECT_FALSE(option->help.empty()) << option->name;
      EXPECT_EQ(option->type == ValueType::flag, option->value.empty()) << option->name;
      EXPECT_EQ(option->type == ValueType::choice, !option->choices.empty()) << option->name;
    }
  }
}

TEST(Commands, every_default_is_a_value_that_the_option_takes) {
  for (const Command* command : commands()) {
    for (const Option* option : all_options(*command)) {
      if (option->fallback.empty()) continue;
      Command probe = {.name = "probe", .options = {option, 1}};
      const std::string argument =
          "--" + std::string(option->name) + "=" + std::string(option->fallback);
      EXPECT_TRUE(parse(probe, std::vector<std::string_view>{argument})) << argument;
    }
  }
}

TEST(Commands, the_defaults_are_the_limits) {
  const Options options = *parse(kGatewayCommand, {});
  EXPECT_EQ(options.duration_ms("sniff-wait"), limits::kSniffWaitMs);
  EXPECT_EQ(options.duration_ms("connect-timeout"), limits::kConnectTimeoutMs);
  EXPECT_EQ(options.duration_ms("idle-timeout"), limits::kIdleTimeoutMs);
  EXPECT_EQ(options.duration_ms("drain"), limits::kDrainTimeoutMs);
}

TEST(Commands, help_shows_every_option_and_keeps_to_eighty_columns) {
  for (const Command* command : commands()) {
    const std::string help = command_help(*command);
    for (const Option* option : all_options(*command)) {
      const std::string title = option_title(*option);
      EXPECT_EQ(help.find(title) == std::string::npos, option->hidden) << title;
    }
    std::size_t start = 0;
    const std::size_t options_end = help.find("\nexamples:");
    for (std::size_t end = help.find('\n'); end != std::string::npos && end < options_end;
         end = help.find('\n', start)) {
      EXPECT_LE(display_width(help.substr(start, end - start)), 80U);
      start = end + 1;
    }
  }
}

TEST(Commands, the_overview_names_every_command) {
  for (const Command* command : commands()) EXPECT_THAT(overview(), HasSubstr(command->summary));
}

TEST(Commands, the_man_page_names_every_option) {
  const std::string page = man_page();
  EXPECT_THAT(page, HasSubstr(".TH SHUNT 1"));
  EXPECT_THAT(page, HasSubstr("\\-i, \\-\\-interface IFACE"));
  EXPECT_THAT(page, Not(HasSubstr("debug\\-unmarked")));
  for (const Command* command : commands()) {
    EXPECT_THAT(page, HasSubstr(".SS shunt " + std::string(command->name)));
  }
}

// A man page is copied from: a typographic quote or dash is a syntax error for the shell.
TEST(Commands, the_man_page_keeps_what_is_typed) {
  const std::string page = man_page();
  EXPECT_THAT(page, HasSubstr("\\-\\-exclude \\(aqto 192.168.0.0/16\\(aq"));
  EXPECT_THAT(page, Not(HasSubstr("'")));
  EXPECT_THAT(page, Not(HasSubstr("`")));
}

TEST(Commands, a_plan_explains_the_options_of_its_subject) {
  for (const std::string_view asked : {"--help", "-h"}) {
    testing::internal::CaptureStdout();
    const int code = run_command_line(std::vector<std::string_view>{"plan", "gateway", asked});
    EXPECT_EQ(testing::internal::GetCapturedStdout(), command_help(kGatewayCommand));
    EXPECT_EQ(code, 0);
  }
}

TEST(Commands, help_has_every_command_as_a_topic) {
  const auto& topics = kHelpCommand.word_choices;
  for (const Command* command : commands()) {
    if (command == &kHelpCommand || command->hidden) continue;
    EXPECT_NE(std::ranges::find(topics, command->name), topics.end()) << command->name;
  }
}

TEST(Commands, text_is_wrapped_at_spaces) {
  EXPECT_EQ(wrapped("one two", 2), "  one two\n");
  EXPECT_EQ(wrapped(std::string(70, 'a') + " " + std::string(20, 'b'), 0),
            std::string(70, 'a') + "\n" + std::string(20, 'b') + "\n");
  EXPECT_EQ(wrapped("a\n\nb", 0), "a\n\nb\n");
}

}  // namespace
}  // namespace shunt::cli
