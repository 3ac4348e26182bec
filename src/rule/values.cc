// SPDX-License-Identifier: GPL-2.0-only
#include "rule/values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/suggest.h"
#include "flow/app_protocol.h"
#include "rule/classid.h"

namespace shunt {
namespace {

constexpr std::array<std::string_view, 22> kKeyNames = {
    "host", "to",        "client", "port",    "client-port", "proto", "app",    "method",
    "path", "process",   "exe",    "uid",     "gid",         "user",  "cgroup", "classid",
    "unit", "container", "in",     "country", "asn",         "time"};
constexpr std::array<std::string_view, 9> kMethods = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
constexpr std::array<std::string_view, 7> kDays = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& byte : out) {
    if (byte >= 'a' && byte <= 'z') byte = static_cast<char>(byte - 'a' + 'A');
  }
  return out;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

Value value_of(const RawValue& raw, ValueForm form, std::string text) {
  return Value{.form = form, .span = raw.span, .text = std::move(text), .network = {}};
}

Value range_value(const RawValue& raw, NumberRange range) {
  Value value = value_of(raw, ValueForm::range, {});
  value.low = range.low;
  value.high = range.high;
  return value;
}

bool takes_pattern(TermKey key) {
  return key == TermKey::host || key == TermKey::path || key == TermKey::process ||
         key == TermKey::exe;
}

bool takes_list(TermKey key) {
  return key == TermKey::host || key == TermKey::to || key == TermKey::client;
}

/// "10.0.0", "10.0.0.1-10.0.0.9", "10.*": meant as addresses.
bool looks_like_address(std::string_view text) {
  return !text.empty() && text.front() >= '0' && text.front() <= '9' &&
         text.find_first_not_of("0123456789.-/*") == std::string_view::npos;
}

Parsed<Value> network_value(TermKey key, const RawValue& raw) {
  const auto network = Network::parse(raw.text);
  if (!network) {
    auto mistake =
        mistake_at(raw.span, fmt::format("\"{}\" is no address and no CIDR block", raw.text));
    if (looks_like_address(raw.text)) {
      mistake.error().help =
          "a network is written as 10.0.0.0/8 or 2001:db8::/32, a single "
          "address in full; several are separated by commas";
    } else if (key == TermKey::to && host_name(raw.text)) {
      mistake.error().help = fmt::format("for a name: host {}", raw.text);
    }
    return mistake;
  }
  Value value = value_of(raw, ValueForm::network, {});
  value.network = *network;
  return value;
}

Parsed<Value> host_value(const RawValue& raw) {
  if (Network::parse(raw.text)) {
    auto mistake = mistake_at(raw.span, fmt::format("\"{}\" is an address, no name", raw.text));
    mistake.error().help = fmt::format("for an address: to {}", raw.text);
    return mistake;
  }
  const bool below = raw.text.starts_with("*.");
  auto name = host_name(std::string_view(raw.text).substr(below ? 2 : 0));
  if (name) {
    return value_of(raw, below ? ValueForm::subdomains : ValueForm::exact, *std::move(name));
  }
  auto mistake = mistake_at(raw.span, fmt::format("\"{}\" is no host name", raw.text));
  const bool wide = std::ranges::any_of(raw.text, [](char byte) { return (byte & 0x80) != 0; });
  if (wide) {
    mistake.error().help = "names are compared as they are sent: write the xn-- form";
  } else if (raw.text.contains('*')) {
    mistake.error().help =
        "a star stands only in front, as in *.example.com; else use ~\"PATTERN\"";
  }
  return mistake;
}

Parsed<Value> port_value(const RawValue& raw) {
  const auto range = number_range(raw.text);
  if (!range || range->high > 65535) {
    return mistake_at(raw.span, fmt::format("\"{}\" is no port and no range of ports", raw.text));
  }
  return range_value(raw, *range);
}

Parsed<Value> protocol_value(const RawValue& raw) {
  if (raw.text == "tcp" || raw.text == "udp") return value_of(raw, ValueForm::exact, raw.text);
  constexpr std::array<std::string_view, 2> kBoth = {"tcp", "udp"};
  return mistake_at(
      raw.span,
      fmt::format("unknown protocol \"{}\": tcp or udp; the others are never captured", raw.text),
      std::string(closest_word(raw.text, kBoth)));
}

Parsed<Value> app_value(const RawValue& raw) {
  if (std::ranges::find(kAppProtocolNames, raw.text) != kAppProtocolNames.end()) {
    return value_of(raw, ValueForm::exact, raw.text);
  }
  return mistake_at(raw.span,
                    fmt::format("unknown application protocol \"{}\": {}", raw.text,
                                fmt::join(kAppProtocolNames, ", ")),
                    std::string(closest_word(raw.text, kAppProtocolNames)));
}

/// Methods are case-sensitive (RFC 9110 section 9.1), and all that are in use are upper case.
Parsed<Value> method_value(const RawValue& raw) {
  const bool token = std::ranges::all_of(raw.text, [](char byte) {
    return (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '-' ||
           byte == '_';
  });
  if (token) return value_of(raw, ValueForm::exact, raw.text);
  return mistake_at(raw.span, fmt::format("\"{}\" is no HTTP method", raw.text),
                    std::string(closest_word(upper(raw.text), kMethods)));
}

/// A path of HTTP, of a program or of a cgroup.
Parsed<Value> path_value(TermKey key, const RawValue& raw) {
  std::string text = raw.text;
  const bool beginning = key != TermKey::cgroup && !raw.quoted && text.ends_with('*');
  if (beginning) text.pop_back();
  const bool asterisk_form = key == TermKey::path && raw.text == "*";  // OPTIONS *
  if (asterisk_form) return value_of(raw, ValueForm::exact, raw.text);
  if (!text.starts_with('/')) {
    return mistake_at(raw.span, fmt::format("\"{}\" is no path: it begins with a slash", raw.text));
  }
  if (!raw.quoted && text.contains('*')) {
    auto mistake = mistake_at(raw.span, "a star stands only at the end, as in /api/*");
    mistake.error().help = "else use ~\"PATTERN\", or quote a star that is meant";
    return mistake;
  }
  while (key == TermKey::cgroup && text.size() > 1 && text.ends_with('/')) text.pop_back();
  return value_of(raw, beginning ? ValueForm::beginning : ValueForm::exact, std::move(text));
}

Parsed<Value> account_value(const RawValue& raw) {
  if (const auto range = number_range(raw.text)) return range_value(raw, *range);
  return value_of(raw, ValueForm::account, raw.text);
}

Parsed<Value> classid_value(const RawValue& raw) {
  if (const auto id = parse_classid(raw.text)) return range_value(raw, {*id, *id});
  return mistake_at(raw.span,
                    fmt::format("\"{}\" is no class of net_cls, as 1:10 or 0x10010", raw.text));
}

Parsed<Value> interface_value(const RawValue& raw) {
  if (raw.text.size() >= IFNAMSIZ || raw.text.find_first_of("\"*/\\ ") != std::string::npos) {
    return mistake_at(raw.span, fmt::format("\"{}\" is no interface name", raw.text));
  }
  return value_of(raw, ValueForm::exact, raw.text);
}

Parsed<Value> country_value(const RawValue& raw) {
  std::string code = upper(raw.text);
  const bool letters = std::ranges::all_of(code, [](char c) { return c >= 'A' && c <= 'Z'; });
  if (code.size() != 2 || !letters) {
    return mistake_at(raw.span,
                      fmt::format("\"{}\" is no country code: two letters, as in DE", raw.text));
  }
  return value_of(raw, ValueForm::exact, std::move(code));
}

Parsed<Value> asn_value(const RawValue& raw) {
  std::string_view digits = raw.text;
  if (digits.starts_with("AS") || digits.starts_with("as")) digits.remove_prefix(2);
  const auto range = number_range(digits);
  if (!range) {
    return mistake_at(raw.span, fmt::format("\"{}\" is no AS number, as in AS64500", raw.text));
  }
  return range_value(raw, *range);
}

/// A service is what is meant by a unit without a type.
Parsed<Value> unit_value(const RawValue& raw) {
  std::string name = raw.text;
  if (!name.contains('.')) name += ".service";
  return value_of(raw, ValueForm::exact, std::move(name));
}

Parsed<Value> with_sigil(TermKey key, const RawValue& raw) {
  const bool pattern = raw.sigil == '~';
  if (pattern ? !takes_pattern(key) : !takes_list(key)) {
    return mistake_at(
        raw.span, fmt::format("\"{}\" takes no {}", key_name(key), pattern ? "pattern" : "file"));
  }
  if (pattern && !raw.quoted) {
    return mistake_at(raw.span, "a pattern stands in quotes, as in ~\"^ads[0-9]\"");
  }
  return value_of(raw, pattern ? ValueForm::pattern : ValueForm::list, raw.text);
}

/// Minutes of "HH:MM"; 24:00 is the end of the day.
std::optional<std::uint32_t> clock_minutes(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  const auto hours = number(text.substr(0, 2));
  const auto minutes = number(text.substr(3));
  if (!hours || !minutes || *minutes > 59) return std::nullopt;
  const std::uint32_t all = *hours * 60 + *minutes;
  if (all > kMinutesPerDay) return std::nullopt;
  return all;
}

}  // namespace

std::string_view key_name(TermKey key) { return kKeyNames[static_cast<std::size_t>(key)]; }

std::span<const std::string_view> key_names() { return kKeyNames; }

std::optional<TermKey> key_of(std::string_view word) {
  const auto* const found = std::ranges::find(kKeyNames, word);
  if (found == kKeyNames.end()) return std::nullopt;
  return static_cast<TermKey>(found - kKeyNames.begin());
}

Parsed<Value> typed_value(TermKey key, const RawValue& raw) {
  if (raw.sigil != '\0') return with_sigil(key, raw);
  switch (key) {
    case TermKey::host: return host_value(raw);
    case TermKey::to:
    case TermKey::client: return network_value(key, raw);
    case TermKey::port:
    case TermKey::client_port: return port_value(raw);
    case TermKey::proto: return protocol_value(raw);
    case TermKey::app: return app_value(raw);
    case TermKey::method: return method_value(raw);
    case TermKey::path:
    case TermKey::exe:
    case TermKey::cgroup: return path_value(key, raw);
    case TermKey::uid:
    case TermKey::gid:
    case TermKey::user: return account_value(raw);
    case TermKey::classid: return classid_value(raw);
    case TermKey::unit: return unit_value(raw);
    case TermKey::interface: return interface_value(raw);
    case TermKey::country: return country_value(raw);
    case TermKey::asn: return asn_value(raw);
    case TermKey::process:
    case TermKey::container:
    case TermKey::time: break;
  }
  return value_of(raw, ValueForm::exact, raw.text);
}

std::optional<NumberRange> number_range(std::string_view text) {
  const auto dash = text.find('-');
  const auto low = number(text.substr(0, dash));
  const auto high = dash == std::string_view::npos ? low : number(text.substr(dash + 1));
  if (!low || !high || *low > *high) return std::nullopt;
  return NumberRange{*low, *high};
}

std::optional<unsigned> weekday(std::string_view word) {
  const auto* const found = std::ranges::find(kDays, word);
  if (found == kDays.end()) return std::nullopt;
  return static_cast<unsigned>(found - kDays.begin());
}

std::optional<std::vector<NumberRange>> week_minutes(unsigned days, std::string_view span) {
  const auto dash = span.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto from = clock_minutes(span.substr(0, dash));
  const auto until = clock_minutes(span.substr(dash + 1));
  if (!from || !until || *from == *until || *from == kMinutesPerDay) return std::nullopt;
  const std::uint32_t length = (*until + kMinutesPerDay - *from) % kMinutesPerDay;
  std::vector<NumberRange> out;
  for (std::uint32_t day = 0; day < kDays.size(); ++day) {
    if ((days >> day & 1U) == 0) continue;
    const std::uint32_t low = day * kMinutesPerDay + *from;
    const std::uint32_t last = low + (length == 0 ? kMinutesPerDay : length) - 1;
    out.push_back({low, std::min(last, kMinutesPerWeek - 1)});
    if (last >= kMinutesPerWeek) out.push_back({0, last - kMinutesPerWeek});  // Sunday night
  }
  return out;
}

}  // namespace shunt
