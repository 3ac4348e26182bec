// SPDX-License-Identifier: GPL-2.0-only
#include "cli/watch_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/error_numbers.h"
#include "cli/place.h"
#include "rule/accounts.h"

namespace shunt::cli {
namespace {

using By = WatchTarget::By;

struct Word {
  std::string_view word;
  By by;
};

constexpr std::array kWords = std::to_array<Word>({
    {"pid", By::process},
    {"name", By::name},
    {"unit", By::unit},
    {"cgroup", By::cgroup},
    {"uid", By::user},
    {"gid", By::group},
    {"container", By::container},
    {"netns", By::network},
    {"host", By::host},
});

constexpr std::string_view kUnitEndings[] = {".service", ".scope", ".slice", ".socket", ".mount"};
constexpr std::size_t kCommBytes = 15;  // of a process's name, as the kernel has it

Failure bad_target(std::string_view word, std::string message, std::string help = {}) {
  Error error =
      make_error(Kind::usage, error_number::kBadTarget, std::move(message), std::move(help));
  const std::string_view arguments[] = {word};
  error.place = point_at("watch", arguments, {.argument = 0, .first = 0, .length = word.size()});
  return Failure(std::move(error));
}

constexpr std::string_view kForms =
    "pid:N, name:NAME, unit:NAME, cgroup:/PATH, uid:USER, gid:GROUP, container:NAME, netns:/PATH "
    "or "
    "host; with ! in front, who is left alone";

Result<void> take_accounts(WatchTarget& target, TermKey key, std::string_view word) {
  Value value;
  value.form = ValueForm::account;
  value.text = target.text;
  const char* const end = target.text.data() + target.text.size();
  if (std::from_chars(target.text.data(), end, value.low).ptr == end) {
    value.form = ValueForm::range;
    value.high = value.low;
  }
  Term term;
  term.key = key;
  term.values.push_back(std::move(value));
  auto ids = account_numbers(term);
  if (!ids) {
    return bad_target(word, fmt::format("\"{}\" is no {} here", target.text,
                                        key == TermKey::uid ? "user" : "group"));
  }
  target.ids = *std::move(ids);
  return {};
}

Result<void> take_value(WatchTarget& target, std::string_view word) {
  std::string& text = target.text;
  switch (target.by) {
    case By::process: {
      const char* const end = text.data() + text.size();
      const auto parsed = std::from_chars(text.data(), end, target.number);
      if (parsed.ec == std::errc() && parsed.ptr == end && target.number > 0) return {};
      return bad_target(word, fmt::format("\"{}\" is no number of a process", text),
                        "name:NAME watches programs by their names");
    }
    case By::name: text.resize(std::min(text.size(), kCommBytes)); return {};
    case By::unit:
      if (text.contains('/')) {
        return bad_target(word, fmt::format("\"{}\" is no name of a unit", text),
                          "cgroup:/PATH watches a cgroup by its path");
      }
      if (std::ranges::none_of(kUnitEndings, [&](auto end) { return text.ends_with(end); })) {
        text += ".service";
      }
      return {};
    case By::cgroup:
      if (text.starts_with('/')) return {};
      return bad_target(word,
                        fmt::format("\"{}\" is no path of a cgroup: those begin with /", text),
                        "/proc/PID/cgroup has it behind 0::");
    case By::user: return take_accounts(target, TermKey::uid, word);
    case By::group: return take_accounts(target, TermKey::gid, word);
    case By::network:
      if (text.starts_with('/')) return {};
      return bad_target(word, fmt::format("\"{}\" is no file of a network namespace", text),
                        "netns:/run/netns/NAME, or netns:/proc/PID/ns/net");
    case By::container:
    case By::host: return {};
  }
  return {};
}

/// Paths of cgroups.
bool is_below(const std::string& path, const std::string& top) {
  return (path + "/").starts_with(top.ends_with('/') ? top : top + "/");
}

bool contains(const std::vector<NumberRange>& ranges, std::uint32_t id) {
  return std::ranges::any_of(
      ranges, [id](const NumberRange& range) { return range.low <= id && id <= range.high; });
}

}  // namespace

Result<WatchTarget> parse_watch_target(std::string_view word) {
  WatchTarget target;
  std::string_view rest = word;
  if (rest.starts_with('!')) {
    target.excluded = true;
    rest.remove_prefix(1);
  }
  const std::size_t colon = rest.find(':');
  const std::string_view key = rest.substr(0, colon);
  const auto* const known = std::ranges::find(kWords, key, &Word::word);
  if (known == kWords.end()) {
    return bad_target(word, fmt::format("\"{}\" is no target", word), std::string(kForms));
  }
  target.by = known->by;
  const bool has_value = colon != std::string_view::npos && colon + 1 < rest.size();
  if (has_value != (target.by != By::host)) {
    return bad_target(word,
                      fmt::format("\"{}\" {}", word, has_value ? "takes no value" : "has no value"),
                      std::string(kForms));
  }
  if (target.excluded && (target.by == By::host || target.by == By::network)) {
    return bad_target(word, fmt::format("with \"{}\" nobody is left to watch", word),
                      std::string(kForms));
  }
  if (has_value) target.text = rest.substr(colon + 1);
  SHUNT_CHECK(take_value(target, word));
  return target;
}

Result<std::vector<WatchTarget>> parse_watch_targets(const std::vector<std::string>& words) {
  std::vector<WatchTarget> targets;
  for (const std::string& word : words) targets.push_back(SHUNT_TRY(parse_watch_target(word)));
  if (std::ranges::all_of(targets, &WatchTarget::excluded)) {
    return bad_target(words.front(), "only who is left alone is named, and nobody to watch",
                      fmt::format("shunt watch host '{}'", words.front()));
  }
  return targets;
}

std::string text_of(const WatchTarget& target) {
  const auto* const word = std::ranges::find(kWords, target.by, &Word::by);
  return fmt::format("{}{}{}{}", target.excluded ? "!" : "", word->word,
                     target.text.empty() ? "" : ":", target.text);
}

bool means(const WatchTarget& target, std::uint32_t pid, const ProcessFact& process) {
  switch (target.by) {
    case By::process: return pid == target.number;
    case By::name: return process.name == target.text;
    case By::unit:
      return process.cgroup && (*process.cgroup + "/").contains("/" + target.text + "/");
    case By::cgroup: return process.cgroup && is_below(*process.cgroup, target.text);
    case By::container: return process.cgroup && is_below(*process.cgroup, target.cgroup);
    case By::user: return process.uid && contains(target.ids, *process.uid);
    case By::group: return process.gid && contains(target.ids, *process.gid);
    case By::network:  // where shunt looks nowhere else
    case By::host: return true;
  }
  return false;
}

}  // namespace shunt::cli
