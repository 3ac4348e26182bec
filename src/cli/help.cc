// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <vector>

#include "base/error_numbers.h"
#include "base/suggest.h"
#include "cli/commands.h"
#include "cli/help_text.h"
#include "cli/man_page.h"
#include "cli/output.h"
#include "cli/place.h"

namespace shunt::cli {
namespace {

constexpr Option kOptions[] = {{.name = "man", .help = "print the man page, for man -l"}};

constexpr std::string_view kTopics[] = {
    "run",  "route",  "watch", "gateway", "serve",   "reload",     "rules",  "check",     "explain",
    "plan", "doctor", "down",  "demo",    "version", "completion", "errors", "exit-codes"};

Error unknown_topic(const std::string& topic) {
  Error error =
      make_error(Kind::usage, error_number::kUnexpectedWord,
                 fmt::format("no help on \"{}\"", topic), "shunt help lists the commands");
  const std::vector<std::string_view> arguments = {topic};
  error.place = point_at("help", arguments, {.argument = 0, .first = 0, .length = topic.size()},
                         did_you_mean(closest_word(topic, kTopics)));
  return error;
}

Result<int> run_help(const Options& options) {
  if (options.has("man")) {
    SHUNT_CHECK(print(man_page()));
    return 0;
  }
  if (options.words().empty()) {
    SHUNT_CHECK(print(overview()));
    return 0;
  }
  const std::string& topic = options.words().front();
  if (topic == "errors") {
    SHUNT_CHECK(print(error_list()));
    return 0;
  }
  if (topic == "exit-codes") {
    SHUNT_CHECK(print(exit_codes()));
    return 0;
  }
  const Command* command = find_command(topic);
  if (command == nullptr) return Failure(unknown_topic(topic));
  SHUNT_CHECK(print(command_help(*command)));
  return 0;
}

}  // namespace

constinit const Command kHelpCommand = {
    .name = "help",
    .summary = "explain a command, the error numbers or the exit codes",
    .usage = "[TOPIC]",
    .description =
        "Explains TOPIC: a command, `errors` or `exit-codes`. Without one, lists the "
        "commands.",
    .options = kOptions,
    .word_choices = kTopics,
    .maximum_words = 1,
    .run = run_help,
};

}  // namespace shunt::cli
