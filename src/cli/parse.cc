// SPDX-License-Identifier: GPL-2.0-only
// The parser behind parse() in options.h.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "base/error_numbers.h"
#include "base/suggest.h"
#include "base/units.h"
#include "cli/options.h"
#include "cli/place.h"

namespace shunt::cli {
namespace {

std::string dashed(const Option& option) { return fmt::format("--{}", option.name); }

/// Why `value` is none for `option`, without a place; nothing when it is one.
std::optional<Error> check_value(const Option& option, std::string_view value) {
  const auto refuse = [&](std::string_view why, std::string help) {
    return make_error(Kind::usage, error_number::kBadValue,
                      fmt::format("{} \"{}\": {}", dashed(option), value, why), std::move(help));
  };
  if (option.type == ValueType::choice) {
    if (std::ranges::find(option.choices, value) != option.choices.end()) return std::nullopt;
    return refuse(fmt::format("not one of {}", fmt::join(option.choices, ", ")), {});
  }
  if (option.type != ValueType::duration && option.type != ValueType::count) {
    if (!value.empty()) return std::nullopt;
    return refuse("empty", fmt::format("{} {}", dashed(option), option.value));
  }
  const bool is_duration = option.type == ValueType::duration;
  const Result<std::uint32_t> number = is_duration ? parse_duration_ms(value) : parse_count(value);
  if (!number) return refuse(number.error().message, number.error().help);
  if (*number >= option.minimum && *number <= option.maximum) return std::nullopt;
  const auto shown = [&](std::uint32_t n) {
    return is_duration ? typed_duration(n) : fmt::format("{}", n);
  };
  const bool below = *number < option.minimum;
  return refuse(fmt::format("at {} {}", below ? "least" : "most",
                            shown(below ? option.minimum : option.maximum)),
                {});
}

}  // namespace

class Parser {
 public:
  Parser(const Command& command, std::span<const std::string_view> arguments)
      : command_(command), arguments_(arguments), table_(all_options(command)), parsed_(command) {}

  Result<Options> parse() {
    for (; at_ < arguments_.size(); ++at_) {
      const std::string_view argument = arguments_[at_];
      if (argument == "--") {
        take_rest_as_words(at_ + 1);
        break;
      }
      if (argument.size() < 2 || argument.front() != '-') {
        if (command_.options_end_at_first_word) {
          take_rest_as_words(at_);
          break;
        }
        word_positions_.push_back(at_);
        parsed_.words_.emplace_back(argument);
        continue;
      }
      SHUNT_CHECK(argument.starts_with("--") ? long_option(argument.substr(2))
                                             : short_options(argument.substr(1)));
      if (parsed_.wants_help_) return std::move(parsed_);
    }
    SHUNT_CHECK(check_words());
    return std::move(parsed_);
  }

 private:
  Failure mistake(int number, std::string message, std::string help, Span span,
                  std::string_view remark = {}) const {
    Error error = make_error(Kind::usage, number, std::move(message), std::move(help));
    error.place = point_at(command_.name, arguments_, span, remark);
    return Failure(std::move(error));
  }
  [[nodiscard]] Span whole(std::size_t argument) const {
    return {.argument = argument,
            .first = 0,
            .length = argument < arguments_.size() ? arguments_[argument].size() : 1};
  }

  void take_rest_as_words(std::size_t from) {
    for (std::size_t i = from; i < arguments_.size(); ++i) {
      word_positions_.push_back(i);
      parsed_.words_.emplace_back(arguments_[i]);
    }
  }

  Result<void> long_option(std::string_view text) {
    const std::size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    if (name == "help") {
      parsed_.wants_help_ = true;
      return {};
    }
    const auto found = std::ranges::find(table_, name, &Option::name);
    if (found == table_.end()) return unknown(name);
    if (equals == std::string_view::npos) return option_without_value(**found);
    const Span span{.argument = at_, .first = equals + 3, .length = text.size() - equals - 1};
    if ((*found)->type == ValueType::flag) {
      return mistake(error_number::kUnexpectedWord,
                     fmt::format("{} takes no value", dashed(**found)), {}, span);
    }
    return take(**found, text.substr(equals + 1), span);
  }

  Result<void> short_options(std::string_view letters) {
    for (std::size_t i = 0; i < letters.size(); ++i) {
      if (letters[i] == 'h') {
        parsed_.wants_help_ = true;
        return {};
      }
      const auto found = std::ranges::find(table_, letters[i], &Option::short_name);
      if (found == table_.end()) return unknown_letter(letters, i);
      const std::string_view rest = letters.substr(i + 1);
      if ((*found)->type == ValueType::flag) {
        SHUNT_CHECK(take(**found, {}, {.argument = at_, .first = i + 1, .length = 1}));
        continue;
      }
      if (rest.empty()) return option_without_value(**found);
      return take(**found, rest, {.argument = at_, .first = i + 2, .length = rest.size()});
    }
    return {};
  }

  /// The value, if the option wants one, is the next argument.
  Result<void> option_without_value(const Option& option) {
    if (option.type == ValueType::flag) return take(option, {}, whole(at_));
    const bool there = at_ + 1 < arguments_.size();
    const std::string_view next = there ? arguments_[at_ + 1] : std::string_view();
    if (!there || (next.size() > 1 && next.front() == '-')) {
      std::string help = fmt::format("{} {}", dashed(option), option.value);
      if (there)
        help += fmt::format("      (a value that begins with a dash: {}={})", dashed(option),
                            shell_quoted(next));
      return mistake(error_number::kMissingValue, fmt::format("{} needs a value", dashed(option)),
                     std::move(help), whole(at_));
    }
    ++at_;
    return take(option, next, whole(at_));
  }

  Result<void> take(const Option& option, std::string_view value, Span span) {
    if (option.type != ValueType::flag) {
      if (auto error = check_value(option, value)) {
        const std::string_view near = closest_word(value, option.choices);
        error->place = point_at(command_.name, arguments_, span, did_you_mean(near));
        return Failure(*std::move(error));
      }
      if (!option.repeatable && parsed_.given_.contains(option.name)) {
        return mistake(error_number::kOptionTwice, fmt::format("{} is given twice", dashed(option)),
                       {}, span);
      }
    }
    parsed_.given_[option.name].emplace_back(value);
    return {};
  }

  [[nodiscard]] std::string help_line() const {
    return fmt::format("shunt help {}", command_.name);
  }

  [[nodiscard]] std::vector<std::string_view> known_names() const {
    std::vector<std::string_view> names = {"help"};
    for (const Option* option : table_) {
      if (!option->hidden) names.push_back(option->name);
    }
    return names;
  }

  Result<void> unknown(std::string_view name) const {
    const std::string_view near = closest_word(name, known_names());
    return mistake(error_number::kUnknownOption, fmt::format("unknown option \"--{}\"", name),
                   help_line(), {.argument = at_, .first = 0, .length = name.size() + 2},
                   near.empty() ? "" : did_you_mean(fmt::format("--{}", near)));
  }

  // `-json` for `--json` is the usual slip.
  Result<void> unknown_letter(std::string_view letters, std::size_t i) const {
    const std::string_view name = letters.substr(0, letters.find('='));
    const std::string_view near = i == 0 ? closest_word(name, known_names()) : std::string_view();
    return mistake(
        error_number::kUnknownOption, fmt::format("unknown option \"-{}\"", letters[i]),
        help_line(),
        {.argument = at_,
         .first = i + (i == 0 ? 0 : 1),
         .length = i == 0 ? std::min<std::size_t>(2, letters.size() + 1) : std::size_t{1}},
        near.empty() ? "" : did_you_mean(fmt::format("--{}", near)));
  }

  Result<void> check_words() const {
    const std::size_t given = parsed_.words_.size();
    if (given < command_.minimum_words) {
      return mistake(
          error_number::kMissingWord, fmt::format("{} is missing", command_.missing_word),
          fmt::format("shunt {} {}", command_.name, command_.usage), whole(arguments_.size()));
    }
    if (given <= command_.maximum_words) return {};
    const std::string& word = parsed_.words_[command_.maximum_words];
    return mistake(error_number::kUnexpectedWord, fmt::format("unexpected word \"{}\"", word),
                   help_line(), whole(word_positions_[command_.maximum_words]));
  }

  const Command& command_;
  std::span<const std::string_view> arguments_;
  std::vector<const Option*> table_;
  Options parsed_;
  std::vector<std::size_t> word_positions_;
  std::size_t at_ = 0;
};

Result<Options> parse(const Command& command, std::span<const std::string_view> arguments) {
  return Parser(command, arguments).parse();
}

}  // namespace shunt::cli
