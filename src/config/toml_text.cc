// SPDX-License-Identifier: GPL-2.0-only
#include "config/toml_text.h"

#include <fmt/format.h>

#include "base/error_numbers.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_WINDOWS_COMPAT 0
#include <toml++/toml.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace shunt {
namespace {

constexpr unsigned kDeepest = 16;  // arrays and tables within each other

/// toml++ counts characters, we count bytes.
TextPlace place_of(const SourceText& source, const toml::source_region& region) {
  const auto line = static_cast<std::uint32_t>(region.begin.line);
  if (line == 0 || region.begin.column == 0) return {};
  const std::uint32_t first =
      source.bytes_of(line, static_cast<std::uint32_t>(region.begin.column) - 1);
  auto end = static_cast<std::uint32_t>(source.line(line).size());
  if (region.end.line == region.begin.line && region.end.column > 0) {
    end = source.bytes_of(line, static_cast<std::uint32_t>(region.end.column) - 1);
  }
  return {.line = line, .column = first + 1, .length = end > first ? end - first : 1};
}

// Bounded by kDeepest.
// NOLINTBEGIN(misc-no-recursion)
class Copier {
 public:
  explicit Copier(const SourceText& source) : source_(source) {}

  TomlValue value(const toml::node& node, unsigned depth) {
    using Type = TomlValue::Type;
    TomlValue out{.type = Type::other, .place = place_of(source_, node.source())};
    if (const auto* text = node.as_string()) {
      out.type = Type::text;
      out.text = text->get();
    } else if (const auto* integer = node.as_integer()) {
      out.type = Type::integer;
      out.integer = integer->get();
    } else if (const auto* boolean = node.as_boolean()) {
      out.type = Type::boolean;
      out.boolean = boolean->get();
    } else if (depth == kDeepest) {
      return out;  // too deep to be meant by anything: a value of no known type
    } else if (const auto* array = node.as_array()) {
      out.type = Type::array;
      for (const toml::node& element : *array) out.values.push_back(value(element, depth + 1));
    } else if (const auto* table = node.as_table()) {
      out.type = Type::table;
      copy_table(*table, out, depth);
    }
    return out;
  }

 private:
  /// toml++ sorts by name; mistakes are told in the order of the file.
  void copy_table(const toml::table& table, TomlValue& out, unsigned depth) {
    std::vector<std::pair<TomlKey, const toml::node*>> entries;
    for (auto&& [key, node] : table) {
      entries.emplace_back(
          TomlKey{.name = std::string(key.str()), .place = place_of(source_, key.source())}, &node);
    }
    std::ranges::sort(entries, {}, [](const auto& entry) {
      return std::pair(entry.first.place.line, entry.first.place.column);
    });
    for (auto& [key, node] : entries) {
      out.keys.push_back(std::move(key));
      out.values.push_back(value(*node, depth + 1));
    }
  }

  const SourceText& source_;
};
// NOLINTEND(misc-no-recursion)

/// What toml++ says, with the one character that it shows escaped spelt out: what prints the text
/// escapes it once more.
std::string reason(const toml::parse_error& mistake) {
  std::string text(mistake.description());
  constexpr std::string_view kLineEnd = R"('\n')";
  if (const auto at = text.find(kLineEnd); at != std::string::npos) {
    text.replace(at, kLineEnd.size(), "the end of the line");
  }
  return text;
}

}  // namespace

const TomlValue* TomlValue::find(std::string_view key) const {
  const auto found = std::ranges::find(keys, key, &TomlKey::name);
  return found == keys.end() ? nullptr : &values[static_cast<std::size_t>(found - keys.begin())];
}

StringPlace inside_quotes(const SourceText& source, const TomlValue& text) {
  StringPlace out{.place = text.place, .exact = false};
  const std::string_view line = source.line(text.place.line);
  const std::size_t first = text.place.column - 1;
  if (first >= line.size()) return out;
  const std::string_view raw = line.substr(first, text.place.length);
  const bool one_line = raw.size() == text.text.size() + 2;
  out.exact = one_line && raw.substr(1, text.text.size()) == text.text;
  out.place.column += 1;
  out.place.length = static_cast<std::uint32_t>(out.exact ? text.text.size() : 1);
  return out;
}

std::expected<TomlValue, Error> parse_toml(const SourceText& source) {
  const toml::parse_result parsed = toml::parse(source.text());
  if (!parsed) {
    const toml::parse_error& mistake = parsed.error();
    TextPlace place = place_of(source, mistake.source());
    return std::unexpected(
        source.error_at(place, error_number::kNotToml, "not TOML: " + reason(mistake)));
  }
  return Copier(source).value(parsed.table(), 0);
}

}  // namespace shunt
