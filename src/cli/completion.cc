// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>
#include <net/if.h>

#include <vector>

#include "base/error_numbers.h"
#include "cli/commands.h"
#include "cli/complete.h"
#include "cli/output.h"

namespace shunt::cli {
namespace {

constexpr std::string_view kShells[] = {"bash", "zsh", "fish"};

constexpr Option kOptions[] = {
    {.name = "candidates",
     .help = "complete the command line that follows, for the scripts",
     .hidden = true},
};

constexpr Example kExamples[] = {
    {"source <(shunt completion bash)", "in ~/.bashrc; the same with zsh in ~/.zshrc"},
    {"shunt completion fish > ~/.config/fish/completions/shunt.fish", "once, for fish"},
};

std::vector<std::string> interface_names() {
  std::vector<std::string> names;
  if (struct if_nameindex* all = ::if_nameindex()) {
    for (const struct if_nameindex* one = all; one->if_index != 0; ++one) {
      names.emplace_back(one->if_name);
    }
    ::if_freenameindex(all);
  }
  return names;
}

Result<int> run_completion(const Options& options) {
  if (options.has("candidates")) {
    const std::vector<std::string_view> words(options.words().begin(), options.words().end());
    SHUNT_CHECK(print(completion_text(complete(words, interface_names()))));
    return 0;
  }
  const std::string& shell = options.words().front();
  const std::string_view script = completion_script(shell);
  if (script.empty() || options.words().size() > 1) {
    return Failure(make_error(
        Kind::usage, error_number::kUnexpectedWord,
        fmt::format("no completion for \"{}\"", script.empty() ? shell : options.words()[1]),
        "shunt completion bash, zsh or fish"));
  }
  SHUNT_CHECK(print(script));
  return 0;
}

}  // namespace

constinit const Command kCompletionCommand = {
    .name = "completion",
    .summary = "print the completion script for bash, zsh or fish",
    .usage = "bash|zsh|fish",
    .description = "Prints a script that completes shunt's commands and options.",
    .options = kOptions,
    .examples = kExamples,
    .word_choices = kShells,
    .minimum_words = 1,
    .maximum_words = std::numeric_limits<unsigned>::max(),
    .missing_word = "a shell",
    .run = run_completion,
};

}  // namespace shunt::cli
