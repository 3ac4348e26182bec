// SPDX-License-Identifier: GPL-2.0-only
#include "cli/complete.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shunt::cli {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

const std::vector<std::string> kInterfaces = {"lo", "br-lan"};

Completion completion(const std::vector<std::string_view>& words) {
  return complete(words, kInterfaces);
}

std::vector<std::string> texts(const std::vector<std::string_view>& words) {
  std::vector<std::string> out;
  for (const Candidate& candidate : completion(words).candidates) out.push_back(candidate.text);
  return out;
}

TEST(Complete, the_first_word_is_a_command) {
  EXPECT_THAT(texts({"ga"}), ElementsAre("gateway"));
  EXPECT_THAT(texts({""}), Contains("run"));
  EXPECT_THAT(texts({"nonsense", ""}), IsEmpty());
}

TEST(Complete, options_come_with_their_help) {
  const auto found = completion({"run", "--allow"}).candidates;
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].text, "--allow-localhost");
  EXPECT_FALSE(found[0].help.empty());
  EXPECT_THAT(texts({"gateway", "--"}), Not(Contains("--debug-unmarked")));
}

TEST(Complete, values_of_a_choice) {
  EXPECT_THAT(texts({"gateway", "--method", "t"}), ElementsAre("tproxy"));
  EXPECT_THAT(texts({"gateway", "--method=t"}), ElementsAre("--method=tproxy"));
  EXPECT_THAT(texts({"gateway", "--host", "--method", ""}),
              ElementsAre("auto", "tproxy", "redirect"));
}

TEST(Complete, interfaces_behind_their_option) {
  EXPECT_THAT(texts({"gateway", "-i", "b"}), ElementsAre("br-lan"));
  EXPECT_THAT(texts({"gateway", "--interface=l"}), ElementsAre("--interface=lo"));
}

TEST(Complete, files_are_left_to_the_shell) {
  EXPECT_EQ(completion({"run", "--log-to", ""}).delegate, Delegate::files);
  EXPECT_EQ(completion({"run", "--json", ""}).delegate, Delegate::command_line);
}

TEST(Complete, the_command_of_run_is_left_to_the_shell) {
  EXPECT_EQ(completion({"run", ""}).first, 1U);
  const Completion arguments = completion({"run", "--via", "x", "git", "--ve"});
  EXPECT_EQ(arguments.delegate, Delegate::command_line);
  EXPECT_EQ(arguments.first, 3U);
  EXPECT_THAT(arguments.candidates, IsEmpty());
  EXPECT_EQ(completion({"run", "-o", "--", "gi"}).first, 3U);
}

TEST(Complete, plan_takes_the_gateways_options) {
  EXPECT_THAT(texts({"plan", "g"}), ElementsAre("gateway"));
  EXPECT_THAT(texts({"plan", "gateway", "--on-exit", "c"}), ElementsAre("closed"));
}

TEST(Complete, topics_of_help_once) {
  EXPECT_THAT(texts({"help", "err"}), ElementsAre("errors"));
  EXPECT_THAT(texts({"help", "errors", ""}), IsEmpty());
}

TEST(Complete, the_answer_is_one_line_each) {
  EXPECT_EQ(completion_text({.candidates = {{"a", "help"}, {"b", ""}}}), "nothing\na\thelp\nb\n");
  EXPECT_EQ(completion_text({.delegate = Delegate::files}), "files\n");
  EXPECT_EQ(completion_text({.delegate = Delegate::command_line, .first = 2}), "command 2\n");
}

TEST(Complete, every_shell_has_a_script) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    EXPECT_NE(completion_script(shell).find("--candidates"), std::string_view::npos) << shell;
  }
  EXPECT_EQ(completion_script("tcsh"), "");
}

}  // namespace
}  // namespace shunt::cli
