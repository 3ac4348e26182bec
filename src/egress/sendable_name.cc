// SPDX-License-Identifier: GPL-2.0-only
#include "egress/sendable_name.h"

#include <algorithm>

#include "net/host_name.h"

namespace shunt {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view last_label(std::string_view name) {
  return name.substr(name.rfind('.') + 1);  // npos + 1 is 0
}

// The URL standard's test for "ends in a number": such a name is never one of DNS.
bool is_numeric(std::string_view label) {
  if (std::ranges::all_of(label, is_digit)) return true;
  return label.size() >= 2 && label[0] == '0' && label[1] == 'x';
}

}  // namespace

std::string_view sendable_name(std::string_view host) {
  const auto colon = host.rfind(':');
  if (colon != std::string_view::npos && std::ranges::all_of(host.substr(colon + 1), is_digit)) {
    host = host.substr(0, colon);
  }
  const auto name = host_name(host);
  if (!name) return {};
  const auto last = last_label(*name);
  if (is_numeric(last) || last == "localhost") return {};
  return host;
}

}  // namespace shunt
