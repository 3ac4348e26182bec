// SPDX-License-Identifier: GPL-2.0-only
#include "config/check_schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "base/error_numbers.h"
#include "base/limits.h"
#include "base/suggest.h"
#include "base/units.h"
#include "config/schema.h"
#include "net/endpoint.h"
#include "net/network.h"

namespace shunt {
namespace {

using Type = TomlValue::Type;

bool all_texts(const TomlValue& value) {
  return value.type == Type::array &&
         std::ranges::all_of(value.values, [](const auto& one) { return one.type == Type::text; });
}

/// What a value of the key looks like, for people.
std::string wanted(const KeySpec& key) {
  switch (key.type) {
    case KeyType::text: return "a text in quotes";
    case KeyType::texts: return R"(a list of texts: ["…", "…"])";
    case KeyType::addresses: return R"(an IP address in quotes, or a list of them)";
    case KeyType::ports: return "a list of port numbers: [25, 8025]";
    case KeyType::endpoint: return R"("ADDRESS:PORT", an IPv6 address as "[2001:db8::1]:443")";
    case KeyType::endpoints:
      return R"("ADDRESS:PORT" (an IPv6 address as "[2001:db8::1]:443"), or a list of them)";
    case KeyType::networks: return R"(a network as "10.0.0.0/8", or a list of them)";
    case KeyType::boolean: return "true or false";
    case KeyType::count:
      return key.maximum == std::numeric_limits<std::uint32_t>::max()
                 ? fmt::format("a whole number from {} to {} (32 bits)", key.minimum, key.maximum)
                 : fmt::format("a whole number from {} to {}", key.minimum, key.maximum);
    case KeyType::duration: return R"(a duration in quotes, with its unit: "200ms", "10s", "2h")";
    case KeyType::switched:
      return fmt::format("true, false or \"{}\"", fmt::join(key.choices, "\", \""));
    case KeyType::choice: return fmt::format("one of \"{}\"", fmt::join(key.choices, "\", \""));
    case KeyType::table: return "a table";
    case KeyType::tables: return fmt::format("tables: [{}.NAME]", key.name);
  }
  return {};
}

/// "[capture]", or what the top of the file is called.
std::string table_title(std::string_view path) {
  return path.empty() ? "at the top of the file" : fmt::format("in [{}]", path);
}

class SchemaCheck {
 public:
  SchemaCheck(const SourceText& source, std::vector<Error>& mistakes)
      : source_(source), mistakes_(mistakes) {}

  /// `path` is the table as the file has it, `table` as the schema has it.
  // NOLINTNEXTLINE(misc-no-recursion): as deep as the schema
  void table(const TomlValue& value, std::string_view table, const std::string& path) {
    for (std::size_t i = 0; i < value.keys.size() && !full(); ++i) {
      const TomlKey& key = value.keys[i];
      const KeySpec* spec = find_key(table, key.name);
      const std::string inner = path.empty() ? key.name : fmt::format("{}.{}", path, key.name);
      if (spec == nullptr) {
        unknown(key, table, path);
      } else {
        known(*spec, value.values[i], table, inner);
      }
    }
  }

 private:
  [[nodiscard]] bool full() const { return mistakes_.size() >= limits::kConfigMistakes; }

  void add(const TextPlace& place, int number, std::string message, std::string help = {},
           std::string_view suggestion = {}) {
    if (full()) return;
    mistakes_.push_back(
        source_.error_at(place, number, std::move(message), std::move(help), suggestion));
  }

  void unknown(const TomlKey& key, std::string_view table, const std::string& path) {
    std::vector<std::string_view> names;
    for (const KeySpec& spec : schema()) {
      if (spec.table == table) names.push_back(spec.name);
    }
    const std::string_view near = closest_word(key.name, names);
    add(key.place, error_number::kUnknownKey,
        fmt::format("unknown key \"{}\" {}", key.name, table_title(path)),
        near.empty() ? fmt::format("there are: {}", fmt::join(names, ", ")) : std::string(), near);
  }

  // NOLINTNEXTLINE(misc-no-recursion): as deep as the schema
  void known(const KeySpec& spec, const TomlValue& value, std::string_view in,
             const std::string& path) {
    const std::string below =
        in.empty() ? std::string(spec.name) : fmt::format("{}.{}", in, spec.name);
    const bool is_table = value.type == Type::table;
    if (spec.type == KeyType::table && is_table) return table(value, below, path);
    if (spec.type == KeyType::tables && is_table) return tables(spec, value, below, path);
    if (!is_of(spec, value)) return wrong_type(spec, value, path);
    if (const TomlValue* empty = empty_part(spec, value)) {
      add(empty->place, error_number::kBadKeyValue, fmt::format("{}: nothing stands there", path),
          std::string(spec.help_if_empty));
    }
  }

  /// What is empty though the key says something: the value, or a text of its list.
  static const TomlValue* empty_part(const KeySpec& spec, const TomlValue& value) {
    if (value.type == Type::text && value.text.empty()) return &value;
    if (value.type != Type::array || spec.are_rules) return nullptr;
    if (value.values.empty()) return spec.may_be_empty ? nullptr : &value;
    const auto empty = std::ranges::find_if(value.values, [](const TomlValue& one) {
      return one.type == Type::text && one.text.empty();
    });
    return empty == value.values.end() ? nullptr : &*empty;
  }

  // NOLINTNEXTLINE(misc-no-recursion): as deep as the schema
  void tables(const KeySpec& spec, const TomlValue& value, const std::string& below,
              const std::string& path) {
    for (std::size_t i = 0; i < value.keys.size(); ++i) {
      const std::string inner = fmt::format("{}.{}", path, value.keys[i].name);
      if (value.values[i].type == Type::table) {
        table(value.values[i], below + ".*", inner);
      } else {
        wrong_type(spec, value.values[i], inner);
      }
    }
  }

  /// Ranges and units are complained of here; false only for another kind of value.
  bool is_of(const KeySpec& spec, const TomlValue& value) {
    switch (spec.type) {
      case KeyType::text: return value.type == Type::text;
      case KeyType::texts: return all_texts(value);
      case KeyType::addresses: return is_one_or_list(value, is_address);
      case KeyType::endpoint: return is_endpoint(value);
      case KeyType::endpoints: return is_one_or_list(value, is_endpoint);
      case KeyType::networks: return is_one_or_list(value, is_network);
      case KeyType::ports: return is_ports(value);
      case KeyType::boolean: return value.type == Type::boolean;
      case KeyType::count:
        return value.type == Type::integer && value.integer >= std::int64_t{spec.minimum} &&
               value.integer <= std::int64_t{spec.maximum};
      case KeyType::duration: return value.type == Type::text && is_duration(spec, value);
      case KeyType::switched:
        return value.type == Type::boolean || (value.type == Type::text && is_choice(spec, value));
      case KeyType::choice: return value.type == Type::text && is_choice(spec, value);
      case KeyType::table:
      case KeyType::tables: return false;
    }
    return false;
  }

  static bool is_address(const TomlValue& one) {
    return one.type == Type::text && Address::parse(one.text).has_value();
  }
  static bool is_endpoint(const TomlValue& one) {
    return one.type == Type::text && Endpoint::parse(one.text).has_value();
  }
  static bool is_network(const TomlValue& one) {
    return one.type == Type::text && Network::parse(one.text).has_value();
  }
  using IsOne = bool (*)(const TomlValue& one);
  static bool is_one_or_list(const TomlValue& value, IsOne is_one) {
    return is_one(value) ||
           (value.type == Type::array && std::ranges::all_of(value.values, is_one));
  }
  /// Of a key whose list has an element that is none: what each of them must be.
  static IsOne element_of(KeyType type) {
    switch (type) {
      case KeyType::texts: return [](const TomlValue& one) { return one.type == Type::text; };
      case KeyType::addresses: return is_address;
      case KeyType::endpoints: return is_endpoint;
      case KeyType::networks: return is_network;
      default: return nullptr;
    }
  }

  static bool is_ports(const TomlValue& value) {
    return value.type == Type::array && std::ranges::all_of(value.values, [](const auto& one) {
             return one.type == Type::integer && one.integer >= 1 && one.integer <= 65'535;
           });
  }

  bool is_duration(const KeySpec& spec, const TomlValue& value) {
    const auto duration = parse_duration_ms(value.text);
    if (duration && *duration >= spec.minimum && *duration <= spec.maximum) return true;
    std::string why =
        duration ? (*duration < spec.minimum ? "too short" : "too long") : duration.error().message;
    std::string help = duration ? fmt::format("{} to {}", typed_duration(spec.minimum),
                                              typed_duration(spec.maximum))
                                : duration.error().help;
    add(value.place, error_number::kBadKeyValue,
        fmt::format("{}: \"{}\": {}", spec.name, value.text, why), std::move(help));
    return true;  // complained of
  }

  bool is_choice(const KeySpec& spec, const TomlValue& value) {
    if (std::ranges::find(spec.choices, value.text) != spec.choices.end()) return true;
    const std::string_view near = closest_word(value.text, spec.choices);
    add(value.place, error_number::kBadKeyValue,
        fmt::format("{} cannot be \"{}\"", spec.name, value.text), wanted(spec), near);
    return true;  // complained of
  }

  void wrong_type(const KeySpec& spec, const TomlValue& value, const std::string& path) {
    TextPlace place = value.place;
    if (const IsOne is_one = element_of(spec.type);
        value.type == Type::array && is_one != nullptr) {
      const auto odd = std::ranges::find_if_not(value.values, is_one);
      if (odd != value.values.end()) place = odd->place;
    }
    add(place, error_number::kBadKeyValue, fmt::format("{} wants {}", path, wanted(spec)));
  }

  const SourceText& source_;
  std::vector<Error>& mistakes_;
};

}  // namespace

void check_schema(const TomlValue& root, const SourceText& source, std::vector<Error>& mistakes) {
  SchemaCheck(source, mistakes).table(root, "", "");
}

}  // namespace shunt
