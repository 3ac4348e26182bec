// SPDX-License-Identifier: GPL-2.0-only
#include "policy/list_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/limits.h"
#include "net/host_name.h"
#include "rule/mistake.h"
#include "rule/values.h"

namespace shunt {
namespace {

constexpr std::string_view kBlanks = " \t\r";

/// What stands in every hosts file and means this machine.
constexpr std::array<std::string_view, 11> kOwnNames = {
    "localhost",     "localhost.localdomain", "local",        "broadcasthost",
    "ip6-localhost", "ip6-loopback",          "ip6-localnet", "ip6-mcastprefix",
    "ip6-allnodes",  "ip6-allrouters",        "ip6-allhosts"};

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

/// A line of a list while it is read.
class Line {
 public:
  Line(std::string_view text, std::uint32_t number) : text_(text), number_(number) {}

  /// The next word in front of a comment; empty: there is none.
  std::string_view next() {
    const std::string_view kept = text_.substr(0, text_.find('#'));
    first_ = std::min(kept.find_first_not_of(kBlanks, end_), kept.size());
    end_ = std::min(kept.find_first_of(kBlanks, first_), kept.size());
    return kept.substr(first_, end_ - first_);
  }

  /// What is wrong with the last word.
  [[nodiscard]] Error wrong(std::string message, std::string help, const std::string& path) const {
    RuleMistake mistake{.first = first_,
                        .length = end_ - first_,
                        .message = std::move(message),
                        .suggestion = {},
                        .help = std::move(help),
                        .number = error_number::kListFile};
    return mistake_error(mistake, text_,
                         {.file = path, .line = number_, .column = 1, .line_text = {}});
  }

 private:
  std::string_view text_;
  std::uint32_t number_;
  std::size_t first_ = 0;
  std::size_t end_ = 0;
};

/// Calls `read` for each line until it answers an error.
template <class Read>
Result<void> for_each_line(std::string_view text, Read read) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::uint32_t number = 0;
  while (!text.empty()) {
    const std::string_view bytes = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(bytes.size() + 1, text.size()));
    SHUNT_CHECK(read(Line(bytes, ++number)));
  }
  return {};
}

template <class T>
Result<void> add(std::vector<T>& entries, T entry, const Line& line, const std::string& path) {
  if (entries.size() == limits::kListEntries) {
    return Failure(line.wrong(fmt::format("more than {} entries in one file", limits::kListEntries),
                              {}, path));
  }
  entries.push_back(std::move(entry));
  return {};
}

std::optional<ListedName> listed_name(std::string_view word) {
  const bool below = word.starts_with("*.");
  auto name = host_name(word.substr(below ? 2 : 0));
  if (!name || Network::parse(word)) return std::nullopt;
  return ListedName{.name = *std::move(name), .below = below};
}

Result<void> read_names(Line line, std::vector<ListedName>& names, const std::string& path) {
  std::string_view word = line.next();
  if (word.empty()) return {};
  const bool hosts_format = is_address(word);
  if (hosts_format) word = line.next();
  do {
    if (hosts_format && is_address(word)) {  // "0.0.0.0 0.0.0.0" stands in many lists
      word = line.next();
      continue;
    }
    auto name = listed_name(word);
    if (!name) {
      return Failure(line.wrong(fmt::format("\"{}\" is no host name", word),
                                "one name a line, or *.name for what lies below it", path));
    }
    const bool own = hosts_format && std::ranges::find(kOwnNames, name->name) != kOwnNames.end();
    if (!own) SHUNT_CHECK(add(names, *std::move(name), line, path));
    word = line.next();
  } while (hosts_format && !word.empty());
  if (word.empty()) return {};
  return Failure(line.wrong("more than one name in a line", {}, path));
}

Result<void> read_network(Line line, std::vector<Network>& networks, const std::string& path) {
  const std::string_view word = line.next();
  if (word.empty()) return {};
  const auto network = Network::parse(word);
  if (!network) {
    return Failure(
        line.wrong(fmt::format("\"{}\" is no address and no CIDR block", word), {}, path));
  }
  SHUNT_CHECK(add(networks, *network, line, path));
  if (line.next().empty()) return {};
  return Failure(line.wrong("more than one network in a line", {}, path));
}

}  // namespace

Result<std::vector<ListedName>> parse_name_list(std::string_view text, const std::string& path) {
  std::vector<ListedName> names;
  SHUNT_CHECK(for_each_line(text, [&](Line line) { return read_names(line, names, path); }));
  return names;
}

Result<std::vector<Network>> parse_network_list(std::string_view text, const std::string& path) {
  std::vector<Network> networks;
  SHUNT_CHECK(for_each_line(text, [&](Line line) { return read_network(line, networks, path); }));
  return networks;
}

}  // namespace shunt
