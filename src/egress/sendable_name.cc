// SPDX-License-Identifier: GPL-2.0-only
#include "egress/sendable_name.h"

#include <algorithm>

namespace shunt {
namespace {

constexpr std::size_t kLongestName = 253;  // RFC 1035 section 3.1, in text

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_name_byte(char c) {
  const char l = lower(c);
  return (l >= 'a' && l <= 'z') || is_digit(c) || c == '-' || c == '.' || c == '_';
}

std::string_view last_label(std::string_view name) {
  return name.substr(name.rfind('.') + 1);  // npos + 1 is 0
}

// The URL standard's test for "ends in a number": such a name is never one of DNS.
bool is_numeric(std::string_view label) {
  if (std::ranges::all_of(label, is_digit)) return true;
  return label.size() >= 2 && label[0] == '0' && lower(label[1]) == 'x';
}

}  // namespace

std::string_view sendable_name(std::string_view host) {
  const auto colon = host.rfind(':');
  if (colon != std::string_view::npos && std::ranges::all_of(host.substr(colon + 1), is_digit)) {
    host = host.substr(0, colon);
  }
  if (host.empty() || host.size() > kLongestName || host.front() == '.') return {};
  if (!std::ranges::all_of(host, is_name_byte)) return {};
  auto name = host;
  if (name.ends_with('.')) name.remove_suffix(1);
  const auto last = last_label(name);
  if (last.empty() || is_numeric(last)) return {};
  if (std::ranges::equal(last, std::string_view("localhost"), {}, lower)) return {};
  return host;
}

}  // namespace shunt
