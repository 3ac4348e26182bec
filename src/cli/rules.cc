// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "cli/ask_daemon.h"
#include "cli/commands.h"
#include "cli/config_report.h"
#include "cli/output.h"
#include "cli/rules_report.h"

namespace shunt::cli {
namespace {

constexpr int kAttempts = 5;  // a reload may fall between two pages

constexpr Option kOptions[] = {
    {.name = "json", .help = "the rules as JSON, one object a line"},
};

constexpr Example kExamples[] = {
    {"sudo shunt rules", "which rules decide, and which never did"},
    {"sudo shunt rules --json | jq 'select(.hits == 0).text'", "those that never did"},
};

struct Listing {
  bool complete = false;  ///< false: the rules were replaced meanwhile
  int exit_code = 0;
  std::string text{};
};

Result<Listing> list_rules_of_daemon(bool json) {
  Listing listing;
  std::optional<std::uint64_t> state;
  for (std::uint32_t first = 1; first != 0;) {
    const auto answer =
        SHUNT_TRY(ask_daemon(fmt::format("rules {} {}", json ? "json" : "text", first)));
    if (answer.exit_code != 0) {
      report_mistakes(answer.errors);
      listing.exit_code = answer.exit_code;
      listing.complete = true;
      return listing;
    }
    const auto page = answer.texts.empty() ? std::nullopt : page_of(answer.texts.front());
    if (!page || (page->next != 0 && page->next <= first)) {
      return Failure(errno_error("understand the running shunt", EPROTO));
    }
    if (state.value_or(page->state) != page->state) return listing;
    state = page->state;
    for (std::size_t i = 1; i < answer.texts.size(); ++i) listing.text += answer.texts[i] + "\n";
    first = page->next;
  }
  listing.complete = true;
  return listing;
}

Result<int> run_rules(const Options& options) {
  const bool json = options.has("json");
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const Listing listing = SHUNT_TRY(list_rules_of_daemon(json));
    if (!listing.complete) continue;
    if (listing.exit_code != 0) return listing.exit_code;
    if (!json) SHUNT_CHECK(print(fmt::format("{}\n", rule_lines_heading())));
    SHUNT_CHECK(print(listing.text));
    return 0;
  }
  return Failure(errno_error("read rules that are replaced all the time", EAGAIN));
}

}  // namespace

constinit const Command kRulesCommand = {
    .name = "rules",
    .summary = "show the rules of a running `shunt serve` and their hits",
    .usage = "[--json]",
    .description =
        "One line for each rule, the default last: how many flows it decided, how many of these "
        "the kernel sent direct by itself, when the rule was loaded, and the rule. A rule that a "
        "reload leaves as it is counts on. The exit code is 6 when no shunt answers.",
    .options = kOptions,
    .examples = kExamples,
    .run = run_rules,
};

}  // namespace shunt::cli
