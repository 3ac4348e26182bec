// SPDX-License-Identifier: GPL-2.0-only
#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <limits>

namespace shunt {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t milliseconds;
};

constexpr std::array kUnits = {Unit{"ms", 1}, Unit{"s", 1000}, Unit{"m", 60'000},
                               Unit{"h", 3'600'000}, Unit{"d", 86'400'000}};

Failure bad(std::string message, std::string help) {
  return Failure(make_error(Kind::usage, std::move(message), std::move(help)));
}

}  // namespace

Result<std::uint32_t> parse_duration_ms(std::string_view text) {
  std::uint64_t number = 0;
  const char* first = text.data();
  const char* last = first + text.size();
  const auto [end, failure] = std::from_chars(first, last, number);
  const std::string_view digits(first, end);
  if (digits.empty()) return bad("not a duration", "a whole number with ms, s, m, h or d: 200ms");
  const std::string_view suffix = text.substr(digits.size());
  if (suffix.empty()) {
    return bad("the unit is missing", fmt::format("{0}ms or {0}s", digits));
  }
  for (const Unit& unit : kUnits) {
    if (suffix != unit.name) continue;
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
    if (failure != std::errc() || number > kMost / unit.milliseconds) {
      return bad("too long", "at most 49d");
    }
    return static_cast<std::uint32_t>(number * unit.milliseconds);
  }
  return bad("unknown unit", "a whole number with ms, s, m, h or d: 200ms");
}

Result<std::uint32_t> parse_count(std::string_view text) {
  std::uint32_t number = 0;
  const char* first = text.data();
  const char* last = first + text.size();
  const auto [end, failure] = std::from_chars(first, last, number);
  if (failure == std::errc::result_out_of_range) return bad("too large", {});
  if (failure != std::errc() || end != last) return bad("not a whole number", {});
  return number;
}

std::string typed_duration(std::uint32_t milliseconds) {
  constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
  for (auto unit = kUnits.rbegin(); milliseconds != 0 && unit != kUnits.rend(); ++unit) {
    const bool whole = milliseconds % unit->milliseconds == 0 || milliseconds == kMost;
    if (whole) return fmt::format("{}{}", milliseconds / unit->milliseconds, unit->name);
  }
  return "0s";
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{}", bytes);
  auto scaled = static_cast<double>(bytes);
  std::size_t step = 0;
  constexpr std::string_view kPrefixes = "kMGTPE";
  // 999.5 would print as 1000 of the smaller unit.
  for (scaled /= 1000; scaled >= 999.5; ++step) scaled /= 1000;
  return scaled < 9.95 ? fmt::format("{:.1f}{}", scaled, kPrefixes[step])
                       : fmt::format("{:.0f}{}", scaled, kPrefixes[step]);
}

std::string format_duration_ms(std::uint64_t milliseconds) {
  if (milliseconds < 1000) return fmt::format("{} ms", milliseconds);
  if (milliseconds < 9950) {
    return fmt::format("{:.1f} s", static_cast<double>(milliseconds) / 1000);
  }
  const std::uint64_t seconds = (milliseconds + 500) / 1000;
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  return fmt::format("{} h {} min", seconds / 3600, seconds % 3600 / 60);
}

}  // namespace shunt
