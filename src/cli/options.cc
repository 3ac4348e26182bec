// SPDX-License-Identifier: GPL-2.0-only
#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/units.h"
#include "cli/place.h"

namespace shunt::cli {

std::vector<const Option*> all_options(const Command& command) {
  std::vector<const Option*> all;
  for (const Option& option : command.options) all.push_back(&option);
  for (const Option& option : command.shared_options) all.push_back(&option);
  return all;
}

std::string option_title(const Option& option) {
  const std::string shorter =
      option.short_name == '\0' ? "    " : fmt::format("-{}, ", option.short_name);
  const std::string_view space = option.value.empty() ? "" : " ";
  return fmt::format("{}--{}{}{}", shorter, option.name, space, option.value);
}

const Option& Options::option(std::string_view name) const {
  for (const Option* option : all_options(*command_)) {
    if (option->name == name) return *option;
  }
  fmt::print(stderr, "shunt: {} has no option --{} in its table\n", command_->name, name);
  std::abort();
}

bool Options::has(std::string_view name) const { return given_.contains(option(name).name); }

std::string Options::value(std::string_view name) const {
  const auto found = given_.find(option(name).name);
  return found == given_.end() ? std::string(option(name).fallback) : found->second.back();
}

std::vector<std::string> Options::values(std::string_view name) const {
  const auto found = given_.find(option(name).name);
  return found == given_.end() ? std::vector<std::string>() : found->second;
}

// A value passed check_value() when it was parsed, and a unit test parses every fallback.
std::uint32_t Options::duration_ms(std::string_view name) const {
  const std::string text = value(name);
  return text.empty() ? 0 : parse_duration_ms(text).value_or(0);
}

std::uint32_t Options::count(std::string_view name) const {
  const std::string text = value(name);
  return text.empty() ? 0 : parse_count(text).value_or(0);
}

std::string command_line(const Options& options) {
  std::string line(options.command().name);
  for (const Option* option : all_options(options.command())) {
    if (option->type == ValueType::flag) {
      if (options.has(option->name)) line += fmt::format(" --{}", option->name);
      continue;
    }
    for (const std::string& value : options.values(option->name)) {
      line += fmt::format(" --{}{}{}", option->name, value.starts_with('-') ? '=' : ' ',
                          shell_quoted(value));
    }
  }
  if (!options.words().empty()) line += " --";
  for (const std::string& word : options.words()) line += " " + shell_quoted(word);
  return line;
}

}  // namespace shunt::cli
