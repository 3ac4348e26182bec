// SPDX-License-Identifier: GPL-2.0-only
// Every key that a configuration may have, as one table: what is read, what is suggested for a
// mistyped key, and what docs/configuration.md must list all come from it.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace shunt {

enum class KeyType : std::uint8_t {
  text,
  texts,      ///< a list of texts
  addresses,  ///< an IP address, or a list of them
  ports,      ///< a list of port numbers
  endpoint,   ///< an IP address and a port
  endpoints,  ///< the same, or a list of them
  networks,   ///< a network in CIDR notation, or a list of them
  boolean,
  count,     ///< a whole number
  duration,  ///< a text with a unit
  choice,    ///< one of KeySpec::choices
  switched,  ///< a boolean, or one of KeySpec::choices
  table,     ///< whose keys are those of the table "TABLE.NAME", or of "NAME" at the top
  tables,    ///< of tables, whose names are the user's: "NAME.*"
};

struct KeySpec {
  std::string_view table;  ///< "" is the top; "via.*" any table below via
  std::string_view name;
  KeyType type = KeyType::text;
  std::string_view fallback = {};  ///< what holds without the key, as docs/configuration.md has it
  std::span<const std::string_view> choices = {};
  bool may_be_empty = false;  ///< a list: [] says something by itself
  bool are_rules = false;     ///< texts whose grammar tells what is wrong with them, empty or not
  std::string_view help_if_empty = "leave the key out, or say what is meant";
  std::uint32_t minimum = 0;  ///< of a count, or of a duration in milliseconds
  std::uint32_t maximum = std::numeric_limits<std::uint32_t>::max();
};

[[nodiscard]] std::span<const KeySpec> schema();
/// Null where there is no such key.
[[nodiscard]] const KeySpec* find_key(std::string_view table, std::string_view name);
/// "duration", "list of texts": as in docs/configuration.md.
[[nodiscard]] std::string_view type_name(KeyType type);

}  // namespace shunt
