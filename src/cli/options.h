// SPDX-License-Identifier: GPL-2.0-only
// What a command takes is written down once, as a table. Parsing, `--help`, shell completion and
// the man page all read that table, so none of them can disagree with another.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shunt::cli {

enum class ValueType : std::uint8_t {
  flag,       ///< takes no value
  text,       ///< anything
  choice,     ///< one of Option::choices
  duration,   ///< a whole number with a unit, held as milliseconds
  count,      ///< a whole number
  path,       ///< a file; completed as one
  interface,  ///< a network interface; completed as one, not checked
};

struct Option {
  std::string_view name;  ///< without the leading dashes
  char short_name = '\0';
  ValueType type = ValueType::flag;
  std::string_view value = {};     ///< what the value is called in help: "IFACE"
  std::string_view help = {};      ///< one sentence, no capital at the start, no full stop
  std::string_view fallback = {};  ///< the default, in the words of the command line; "" = none
  std::span<const std::string_view> choices = {};
  std::uint32_t minimum = 0;  ///< of a count, or of a duration in milliseconds
  std::uint32_t maximum = std::numeric_limits<std::uint32_t>::max();
  bool repeatable = false;
  bool hidden = false;  ///< parsed, but in no help and no completion
};

class Options;

struct Example {
  std::string_view line;
  std::string_view meaning;
};

struct Command {
  std::string_view name;
  std::string_view summary = {};      ///< one line in `shunt help`
  std::string_view usage = {};        ///< what follows `shunt NAME`
  std::string_view description = {};  ///< paragraphs, separated by "\n\n"; wrapped when printed
  std::span<const Option> options = {};
  std::span<const Option> shared_options = {};  ///< those that it has in common with others
  std::span<const Example> examples = {};
  std::span<const std::string_view> word_choices = {};  ///< for completion of the first word
  unsigned minimum_words = 0;
  unsigned maximum_words = 0;
  std::string_view missing_word = {};      ///< what to call a word that is not there: "a command"
  bool options_end_at_first_word = false;  ///< as env(1) does; the rest belongs to the word
  bool first_word_is_command = false;      ///< one of shunt's, and its options follow
  bool hidden = false;
  int failure_code = 0;  ///< exit code of an Error that is not a usage error; 0 = by its kind
  Result<int> (*run)(const Options& options) = nullptr;  ///< yields the exit code
};

/// A command line that was parsed without a mistake. Every getter takes the name of an option in
/// the command's table (anything else is a mistake in shunt and aborts); values have been checked.
class Options {
 public:
  /// Whether it stands on the command line.
  [[nodiscard]] bool has(std::string_view name) const;
  /// The value given, else the option's fallback, else "".
  [[nodiscard]] std::string value(std::string_view name) const;
  /// All values of a repeatable option, in their order; empty when it is not given.
  [[nodiscard]] std::vector<std::string> values(std::string_view name) const;
  /// Of a duration: as value(); 0 when there is neither a value nor a fallback.
  [[nodiscard]] std::uint32_t duration_ms(std::string_view name) const;
  /// Of a count: as value(); 0 when there is neither a value nor a fallback.
  [[nodiscard]] std::uint32_t count(std::string_view name) const;

  [[nodiscard]] const std::vector<std::string>& words() const { return words_; }
  [[nodiscard]] bool wants_help() const { return wants_help_; }  ///< --help or -h
  [[nodiscard]] const Command& command() const { return *command_; }

 private:
  friend class Parser;
  explicit Options(const Command& command) : command_(&command) {}
  [[nodiscard]] const Option& option(std::string_view name) const;

  const Command* command_;
  std::map<std::string_view, std::vector<std::string>> given_;  // a flag has one empty value
  std::vector<std::string> words_;
  bool wants_help_ = false;
};

/// What a user would type behind `shunt` to say the same: "gateway --interface br-lan --exclude
/// 'port 22'"; hidden options too, words quoted for the shell where they need it.
std::string command_line(const Options& options);

/// Parses what follows `shunt NAME`. `--option VALUE`, `--option=VALUE`, `-o VALUE`, `-oVALUE`,
/// `-abc` for flags, `--` ends the options. A value that begins with a dash has to be given with
/// `=`, so that a forgotten value is noticed. Names are not abbreviated.
Result<Options> parse(const Command& command, std::span<const std::string_view> arguments);

/// The command's own options, then the shared ones; hidden ones included.
std::vector<const Option*> all_options(const Command& command);

/// "-i, --interface IFACE"; "    --json" keeps the column of the long names.
std::string option_title(const Option& option);

}  // namespace shunt::cli
