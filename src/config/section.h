// SPDX-License-Identifier: GPL-2.0-only
// The values of one table, by key. What is missing or of the wrong kind (check_schema() has said
// so) yields what is asked for in its place.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/schema.h"
#include "config/toml_text.h"

namespace shunt {

class Section {
 public:
  /// `table` may be null: then nothing is given.
  explicit Section(const TomlValue* table) : table_(table) {}

  [[nodiscard]] Section inner(std::string_view key) const { return Section(find(key)); }
  [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }
  [[nodiscard]] const TomlValue* find(std::string_view key) const;
  [[nodiscard]] TextPlace place(std::string_view key) const;
  [[nodiscard]] TextPlace place() const { return table_ == nullptr ? TextPlace{} : table_->place; }

  [[nodiscard]] std::string text(std::string_view key, std::string_view otherwise = {}) const;
  [[nodiscard]] bool boolean(std::string_view key) const;
  [[nodiscard]] std::uint32_t count(std::string_view key, std::uint32_t otherwise) const;
  [[nodiscard]] std::uint32_t duration_ms(std::string_view key, std::uint32_t otherwise) const;
  [[nodiscard]] std::vector<std::uint16_t> ports(std::string_view key) const;
  /// The texts of a list; of a text that one.
  [[nodiscard]] std::vector<const TomlValue*> texts(std::string_view key) const;
  [[nodiscard]] std::vector<std::string> strings(std::string_view key) const;

 private:
  const TomlValue* table_;
};

}  // namespace shunt
