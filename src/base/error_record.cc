// SPDX-License-Identifier: GPL-2.0-only
#include "base/error_record.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace shunt {
namespace {

constexpr std::size_t kTextBytes = 1200;  // of each of the three

std::string_view next_field(std::string_view& rest) {
  const auto field = rest.substr(0, rest.find('\0'));
  rest.remove_prefix(std::min(field.size() + 1, rest.size()));
  return field;
}

int next_number(std::string_view& rest) {
  const auto field = next_field(rest);
  int number = 0;
  std::from_chars(field.data(), field.data() + field.size(), number);
  return number;
}

}  // namespace

std::string error_record(const Error& error) {
  std::string record;
  for (const int number : {static_cast<int>(error.kind), error.os_error, error.number}) {
    record += std::to_string(number);
    record += '\0';
  }
  for (const std::string* text : {&error.message, &error.help, &error.place}) {
    record += std::string_view(*text).substr(0, kTextBytes);
    record += '\0';
  }
  return record;
}

Error error_from_record(std::string_view record) {
  Error error;
  const int kind = next_number(record);
  if (kind >= 0 && kind <= static_cast<int>(Kind::conflict)) error.kind = static_cast<Kind>(kind);
  error.os_error = next_number(record);
  error.number = next_number(record);
  error.message = next_field(record);
  error.help = next_field(record);
  error.place = next_field(record);
  return error;
}

}  // namespace shunt
