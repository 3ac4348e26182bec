// SPDX-License-Identifier: GPL-2.0-only
#include "cli/watch_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/error_numbers.h"
#include "capture/selector.h"
#include "cli/place.h"
#include "rule/accounts.h"
#include "rule/classid.h"

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
    {"classid", By::classid},
    {"uid", By::user},
    {"gid", By::group},
    {"container", By::container},
    {"netns", By::network},
    {"host", By::host},
    {"port", By::port},
});

constexpr std::string_view kUnitEndings[] = {".service", ".scope", ".slice", ".socket", ".mount"};
constexpr std::size_t kCommBytes = 15;  // of a process's name, as the kernel has it

/// A word of a command line, for errors.
struct Place {
  std::string_view word;
  TargetsOf command;

  [[nodiscard]] std::string_view command_name() const {
    return command == TargetsOf::watch ? "watch" : "route";
  }
};

Failure bad_target(const Place& place, std::string message, std::string help = {}) {
  Error error =
      make_error(Kind::usage, error_number::kBadTarget, std::move(message), std::move(help));
  const std::string_view arguments[] = {place.word};
  error.place = point_at(place.command_name(), arguments,
                         {.argument = 0, .first = 0, .length = place.word.size()});
  return Failure(std::move(error));
}

constexpr std::string_view kForms =
    "pid:N, name:NAME, unit:NAME, cgroup:/PATH, classid:N, uid:USER, gid:GROUP, container:NAME, "
    "netns:/PATH or host; with ! in front, who is left alone";

Result<void> take_accounts(WatchTarget& target, TermKey key, const Place& word) {
  Value value;
  value.form = ValueForm::account;
  value.text = target.text;
  const char* const end = target.text.data() + target.text.size();
  const auto read = std::from_chars(target.text.data(), end, value.low);
  if (read.ec == std::errc() && read.ptr == end) {
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

Result<void> take_process(WatchTarget& target, const Place& word) {
  const std::string& text = target.text;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, target.number);
  if (parsed.ec == std::errc() && parsed.ptr == end && target.number > 0) return {};
  return bad_target(word, fmt::format("\"{}\" is no number of a process", text),
                    "name:NAME means programs by their names");
}

Result<void> take_unit(WatchTarget& target, const Place& word) {
  std::string& text = target.text;
  if (text.contains('/')) {
    return bad_target(word, fmt::format("\"{}\" is no name of a unit", text),
                      "cgroup:/PATH means a cgroup by its path");
  }
  if (std::ranges::none_of(kUnitEndings, [&](auto end) { return text.ends_with(end); })) {
    text += ".service";
  }
  return {};
}

Result<void> take_classid(WatchTarget& target, const Place& word) {
  const auto number = parse_classid(target.text);
  if (!number) {
    return bad_target(word, fmt::format("\"{}\" is no class of net_cls", target.text),
                      "classid:1:10 as tc(8) writes it, or the whole number: classid:0x10010");
  }
  target.number = *number;
  return {};
}

Result<void> take_ports(const WatchTarget& target, const Place& word) {
  const bool plain = target.text.find_first_not_of("0123456789,-") == std::string::npos;
  if (plain && parse_exclusion("port " + target.text)) return {};
  return bad_target(word, fmt::format("\"{}\" is no port", target.text),
                    "port:443, port:80,443 or port:8000-8100");
}

/// What a path has to be that begins with "/".
Result<void> take_path(const WatchTarget& target, const Place& word) {
  if (target.text.starts_with('/')) return {};
  if (target.by == By::cgroup) {
    return bad_target(word,
                      fmt::format("\"{}\" is no path of a cgroup: those begin with /", target.text),
                      "/proc/PID/cgroup has it behind 0::");
  }
  return bad_target(word, fmt::format("\"{}\" is no file of a network namespace", target.text),
                    "netns:/run/netns/NAME, or netns:/proc/PID/ns/net");
}

Result<void> take_value(WatchTarget& target, const Place& word) {
  switch (target.by) {
    case By::process: return take_process(target, word);
    case By::name: target.text.resize(std::min(target.text.size(), kCommBytes)); return {};
    case By::unit: return take_unit(target, word);
    case By::classid: return take_classid(target, word);
    case By::user: return take_accounts(target, TermKey::uid, word);
    case By::group: return take_accounts(target, TermKey::gid, word);
    case By::port: return take_ports(target, word);
    case By::cgroup:
    case By::network: return take_path(target, word);
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

Result<WatchTarget> parse_watch_target(std::string_view word, TargetsOf command) {
  const Place place{.word = word, .command = command};
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
    return bad_target(place, fmt::format("\"{}\" is no target", word), std::string(kForms));
  }
  target.by = known->by;
  if (target.by == By::port && command == TargetsOf::watch) {
    return bad_target(place, fmt::format("\"{}\" means no process", word),
                      "shunt watch host --rule 'not port 443 -> direct', or shunt route port:443");
  }
  const bool has_value = colon != std::string_view::npos && colon + 1 < rest.size();
  if (has_value != (target.by != By::host)) {
    return bad_target(place,
                      fmt::format("\"{}\" {}", word, has_value ? "takes no value" : "has no value"),
                      std::string(kForms));
  }
  if (target.excluded && (target.by == By::host || target.by == By::network)) {
    return bad_target(place,
                      fmt::format("with \"{}\" nobody is left to {}", word, place.command_name()),
                      std::string(kForms));
  }
  if (has_value) target.text = rest.substr(colon + 1);
  SHUNT_CHECK(take_value(target, place));
  return target;
}

Result<std::vector<WatchTarget>> parse_watch_targets(const std::vector<std::string>& words,
                                                     TargetsOf command) {
  std::vector<WatchTarget> targets;
  for (const std::string& word : words) {
    targets.push_back(SHUNT_TRY(parse_watch_target(word, command)));
  }
  if (std::ranges::all_of(targets, &WatchTarget::excluded)) {
    const Place place{.word = words.front(), .command = command};
    return bad_target(
        place,
        fmt::format("only who is left alone is named, and nobody to {}", place.command_name()),
        fmt::format("shunt {} … '{}' host", place.command_name(), words.front()));
  }
  return targets;
}

bool looks_like_target(std::string_view word) {
  if (word.starts_with('!')) word.remove_prefix(1);
  const std::size_t colon = word.find(':');
  return colon != std::string_view::npos &&
         std::ranges::find(kWords, word.substr(0, colon), &Word::word) != kWords.end();
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
    case By::classid: return process.classid == target.number;
    case By::network:  // where shunt looks nowhere else
    case By::host: return true;
    case By::port: return false;
  }
  return false;
}

}  // namespace shunt::cli
