// SPDX-License-Identifier: GPL-2.0-only
#include "config/schema.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/error_numbers.h"
#include "base/limits.h"
#include "base/suggest.h"
#include "base/units.h"
#include "flow/udp_nat.h"
#include "net/endpoint.h"
#include "net/network.h"

namespace shunt {
namespace {

constexpr std::string_view kMethods[] = {"auto", "tproxy", "redirect"};
constexpr std::string_view kConnect[] = {"honest", "early"};
constexpr std::string_view kOnExit[] = {"open", "closed"};
constexpr std::string_view kDnsModes[] = {"system", "remote", "fake-ip"};
constexpr std::string_view kFormats[] = {"text", "json"};
constexpr std::string_view kProxyProtocol[] = {"v1", "v2"};
constexpr std::string_view kListenProtocols[] = {"tcp", "udp", "both"};
constexpr std::string_view kKeepSource[] = {"port"};
constexpr std::string_view kGroups[] = {"failover", "round-robin", "least-latency", "hash client"};

constexpr std::array kSchema = std::to_array<KeySpec>({
    {.table = "", .name = "version", .type = KeyType::count},
    {.table = "", .name = "capture", .type = KeyType::table},
    {.table = "", .name = "listen", .type = KeyType::tables},
    {.table = "", .name = "via", .type = KeyType::tables},
    {.table = "", .name = "rules", .type = KeyType::table},
    {.table = "", .name = "dns", .type = KeyType::table},
    {.table = "", .name = "udp", .type = KeyType::table},
    {.table = "", .name = "limits", .type = KeyType::table},
    {.table = "", .name = "log", .type = KeyType::table},

    {.table = "capture", .name = "lan", .type = KeyType::texts, .may_be_empty = true},
    {.table = "capture", .name = "host", .type = KeyType::boolean, .fallback = "false"},
    {.table = "capture", .name = "loopback", .type = KeyType::boolean, .fallback = "false"},
    {.table = "capture",
     .name = "method",
     .type = KeyType::choice,
     .fallback = "\"auto\"",
     .choices = kMethods},
    {.table = "capture",
     .name = "connect",
     .type = KeyType::choice,
     .fallback = "honest where that works",
     .choices = kConnect},
    {.table = "capture", .name = "exclude", .type = KeyType::texts, .may_be_empty = true},
    {.table = "capture",
     .name = "on-exit",
     .type = KeyType::choice,
     .fallback = "\"open\"",
     .choices = kOnExit},
    {.table = "capture", .name = "masquerade", .type = KeyType::boolean, .fallback = "false"},

    {.table = "listen.*", .name = "address", .type = KeyType::endpoints},
    {.table = "listen.*", .name = "to", .type = KeyType::endpoint},
    {.table = "listen.*", .name = "accept-proxy", .type = KeyType::networks, .may_be_empty = true},
    {.table = "listen.*",
     .name = "protocol",
     .type = KeyType::choice,
     .fallback = "\"tcp\"",
     .choices = kListenProtocols},

    {.table = "via.*", .name = "interface", .type = KeyType::text},
    {.table = "via.*", .name = "mark", .type = KeyType::count, .minimum = 1},
    {.table = "via.*", .name = "source", .type = KeyType::addresses},
    {.table = "via.*", .name = "table", .type = KeyType::count, .minimum = 1},
    {.table = "via.*",
     .name = "keep-source",
     .type = KeyType::switched,
     .fallback = "false",
     .choices = kKeepSource},
    {.table = "via.*", .name = "keep-source-from", .type = KeyType::texts},
    {.table = "via.*", .name = "proxy", .type = KeyType::text},
    {.table = "via.*", .name = "resolve", .type = KeyType::boolean, .fallback = "false"},
    {.table = "via.*", .name = "user", .type = KeyType::text},
    {.table = "via.*", .name = "password-file", .type = KeyType::text},
    {.table = "via.*", .name = "credential", .type = KeyType::text},
    {.table = "via.*", .name = "tls-ca", .type = KeyType::text},
    {.table = "via.*", .name = "tls-server-name", .type = KeyType::text},
    {.table = "via.*", .name = "via", .type = KeyType::texts},
    {.table = "via.*",
     .name = "proxy-protocol",
     .type = KeyType::choice,
     .choices = kProxyProtocol},
    {.table = "via.*", .name = "toa", .type = KeyType::boolean, .fallback = "false"},
    {.table = "via.*",
     .name = "connect-timeout",
     .type = KeyType::duration,
     .fallback = "that of [limits]",
     .minimum = 1},
    {.table = "via.*",
     .name = "connect",
     .type = KeyType::choice,
     .fallback = "that of [capture]",
     .choices = kConnect},
    {.table = "via.*", .name = "group", .type = KeyType::choice, .choices = kGroups},
    {.table = "via.*", .name = "members", .type = KeyType::texts},
    {.table = "via.*", .name = "check", .type = KeyType::table},

    {.table = "via.*.check", .name = "target", .type = KeyType::text},
    {.table = "via.*.check", .name = "expect", .type = KeyType::text, .fallback = "\"200-399\""},
    {.table = "via.*.check",
     .name = "interval",
     .type = KeyType::duration,
     .fallback = "\"10s\"",
     .minimum = 100},
    {.table = "via.*.check",
     .name = "timeout",
     .type = KeyType::duration,
     .fallback = "\"5s\"",
     .minimum = 1},

    {.table = "rules", .name = "match", .type = KeyType::texts, .may_be_empty = true},
    {.table = "rules", .name = "default", .type = KeyType::text, .fallback = "\"direct\""},
    {.table = "rules", .name = "country-db", .type = KeyType::text},
    {.table = "rules", .name = "asn-db", .type = KeyType::text},

    {.table = "dns", .name = "trusted", .type = KeyType::addresses, .may_be_empty = true},
    {.table = "dns",
     .name = "mode",
     .type = KeyType::choice,
     .fallback = "\"system\"",
     .choices = kDnsModes},
    {.table = "dns", .name = "server", .type = KeyType::text},
    {.table = "dns", .name = "via", .type = KeyType::text, .fallback = "that of the default"},
    {.table = "dns", .name = "tls-ca", .type = KeyType::text},
    {.table = "dns", .name = "tls-server-name", .type = KeyType::text},
    {.table = "dns", .name = "range4", .type = KeyType::text, .fallback = "\"198.18.0.0/15\""},
    {.table = "dns", .name = "range6", .type = KeyType::text},
    {.table = "dns", .name = "real", .type = KeyType::texts, .may_be_empty = true},

    {.table = "udp",
     .name = "mapping",
     .type = KeyType::choice,
     .fallback = "\"endpoint-independent\"",
     .choices = kNatMappings},
    {.table = "udp",
     .name = "filtering",
     .type = KeyType::choice,
     .fallback = "\"endpoint-independent\"",
     .choices = kNatFilterings},
    {.table = "udp",
     .name = "timeout",
     .type = KeyType::duration,
     .fallback = "\"2m\"",
     .minimum = 1},
    {.table = "udp",
     .name = "answered-timeout",
     .type = KeyType::duration,
     .fallback = "\"5m\"",
     .minimum = 1},
    {.table = "udp",
     .name = "quic-timeout",
     .type = KeyType::duration,
     .fallback = "\"5m\"",
     .minimum = 1},
    {.table = "udp",
     .name = "query-timeout",
     .type = KeyType::duration,
     .fallback = "\"10s\"",
     .minimum = 1},
    {.table = "udp",
     .name = "mapping-timeout",
     .type = KeyType::duration,
     .fallback = "\"2m\"",
     .minimum = 1},

    {.table = "limits",
     .name = "workers",
     .type = KeyType::count,
     .fallback = "one for each core",
     .minimum = 1,
     .maximum = 256},
    {.table = "limits",
     .name = "sniff-wait",
     .type = KeyType::duration,
     .fallback = "\"300ms\"",
     .maximum = 60'000},
    {.table = "limits", .name = "server-first", .type = KeyType::ports, .may_be_empty = true},
    {.table = "limits",
     .name = "connect-timeout",
     .type = KeyType::duration,
     .fallback = "\"30s\"",
     .minimum = 1},
    {.table = "limits",
     .name = "idle-timeout",
     .type = KeyType::duration,
     .fallback = "\"2h\"",
     .minimum = 1},
    {.table = "limits", .name = "drain-timeout", .type = KeyType::duration, .fallback = "\"10s\""},

    {.table = "log",
     .name = "format",
     .type = KeyType::choice,
     .fallback = "\"text\"",
     .choices = kFormats},
    {.table = "log", .name = "to", .type = KeyType::text},
});

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
    for (const KeySpec& spec : kSchema) {
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
          spec.name == "keep-source-from"
              ? "keep-source = false keeps nobody's address; without the key, everybody's is kept"
              : "leave the key out, or say what is meant");
    }
  }

  /// What is empty though the key says something: the value, or a text of its list. Rules are told
  /// by their grammar.
  static const TomlValue* empty_part(const KeySpec& spec, const TomlValue& value) {
    const bool rules = spec.name == "match" || spec.name == "exclude";
    if (value.type == Type::text && value.text.empty()) return &value;
    if (value.type != Type::array || rules) return nullptr;
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

std::span<const KeySpec> schema() { return kSchema; }

const KeySpec* find_key(std::string_view table, std::string_view name) {
  const auto* found = std::ranges::find_if(
      kSchema, [&](const KeySpec& key) { return key.table == table && key.name == name; });
  return found == kSchema.end() ? nullptr : found;
}

std::string_view type_name(KeyType type) {
  switch (type) {
    case KeyType::text: return "text";
    case KeyType::texts: return "list of texts";
    case KeyType::addresses: return "address or list of addresses";
    case KeyType::ports: return "list of ports";
    case KeyType::endpoint: return "address and port";
    case KeyType::endpoints: return "address and port, or list of them";
    case KeyType::networks: return "network or list of networks";
    case KeyType::boolean: return "boolean";
    case KeyType::count: return "whole number";
    case KeyType::duration: return "duration";
    case KeyType::choice: return "word";
    case KeyType::switched: return "boolean or word";
    case KeyType::table: return "table";
    case KeyType::tables: return "tables";
  }
  return {};
}

void check_schema(const TomlValue& root, const SourceText& source, std::vector<Error>& mistakes) {
  SchemaCheck(source, mistakes).table(root, "", "");
}

}  // namespace shunt
