// SPDX-License-Identifier: GPL-2.0-only
#include "rule/classid.h"

#include <charconv>

namespace shunt {
namespace {

constexpr std::uint32_t kMostOfHalf = 0xffff;
constexpr unsigned kHalfBits = 16;

std::optional<std::uint32_t> number(std::string_view text, int base) {
  std::uint32_t value = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value, base);
  if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
  return value;
}

std::optional<std::uint32_t> any(std::string_view text) {
  if (text.starts_with("0x")) return number(text.substr(2), 16);
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return number(text, 10);
  const auto major = number(text.substr(0, colon), 16);
  const auto minor = number(text.substr(colon + 1), 16);
  if (!major || !minor || *major > kMostOfHalf || *minor > kMostOfHalf) return std::nullopt;
  return *major << kHalfBits | *minor;
}

}  // namespace

std::optional<std::uint32_t> parse_classid(std::string_view text) {
  const auto value = any(text);
  return value == 0U ? std::nullopt : value;
}

}  // namespace shunt
