// SPDX-License-Identifier: GPL-2.0-only
#include "config/section.h"

#include <limits>

#include "base/units.h"

namespace shunt {

const TomlValue* Section::find(std::string_view key) const {
  return table_ == nullptr ? nullptr : table_->find(key);
}

TextPlace Section::place(std::string_view key) const {
  const TomlValue* value = find(key);
  return value == nullptr ? place() : value->place;
}

std::string Section::text(std::string_view key, std::string_view otherwise) const {
  const TomlValue* value = find(key);
  if (value == nullptr || value->type != TomlValue::Type::text) return std::string(otherwise);
  return value->text;
}

bool Section::boolean(std::string_view key) const {
  const TomlValue* value = find(key);
  return value != nullptr && value->boolean;
}

std::uint32_t Section::count(std::string_view key, std::uint32_t otherwise) const {
  const TomlValue* value = find(key);
  if (value == nullptr || value->type != TomlValue::Type::integer || value->integer < 0 ||
      value->integer > std::int64_t{std::numeric_limits<std::uint32_t>::max()}) {
    return otherwise;
  }
  return static_cast<std::uint32_t>(value->integer);
}

std::uint32_t Section::duration_ms(std::string_view key, std::uint32_t otherwise) const {
  return parse_duration_ms(text(key)).value_or(otherwise);
}

std::vector<std::uint16_t> Section::ports(std::string_view key) const {
  std::vector<std::uint16_t> out;
  const TomlValue* list = find(key);
  if (list == nullptr || list->type != TomlValue::Type::array) return out;
  for (const TomlValue& one : list->values) {
    if (one.type != TomlValue::Type::integer || one.integer < 1 || one.integer > 65'535) continue;
    out.push_back(static_cast<std::uint16_t>(one.integer));
  }
  return out;
}

std::vector<const TomlValue*> Section::texts(std::string_view key) const {
  std::vector<const TomlValue*> out;
  const TomlValue* value = find(key);
  if (value == nullptr) return out;
  if (value->type == TomlValue::Type::text) return {value};
  for (const TomlValue& one : value->values) {
    if (one.type == TomlValue::Type::text) out.push_back(&one);
  }
  return out;
}

std::vector<std::string> Section::strings(std::string_view key) const {
  std::vector<std::string> out;
  for (const TomlValue* value : texts(key)) out.push_back(value->text);
  return out;
}

}  // namespace shunt
