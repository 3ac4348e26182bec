// SPDX-License-Identifier: GPL-2.0-only
#include "control/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error_record.h"

namespace shunt::control {
namespace {

constexpr std::size_t kDoneBytes = 32;

struct Part {
  std::string_view kind;
  std::string_view content;
};

std::string part(std::string_view kind, std::string_view content) {
  return fmt::format("{} {}\n{}", kind, content.size(), content);
}

template <class Number>
std::optional<Number> number(std::string_view text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Part> next_part(std::string_view& rest) {
  const std::size_t line_end = rest.find('\n');
  if (line_end == std::string_view::npos) return std::nullopt;
  const std::string_view head = rest.substr(0, line_end);
  rest.remove_prefix(line_end + 1);
  const std::size_t space = head.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const auto size = number<std::size_t>(head.substr(space + 1));
  if (!size || *size > rest.size()) return std::nullopt;
  const Part out{.kind = head.substr(0, space), .content = rest.substr(0, *size)};
  rest.remove_prefix(*size);
  return out;
}

}  // namespace

std::string encode(const Answer& answer) {
  std::string out;
  const auto add = [&out](const std::string& text) {
    if (out.size() + text.size() + kDoneBytes <= kAnswerBytes) out += text;
  };
  for (const std::string& text : answer.texts) add(part("text", text));
  for (const Error& error : answer.errors) add(part("error", error_record(error)));
  return out + part("done", std::to_string(answer.exit_code));
}

std::optional<Answer> decode(std::string_view bytes) {
  Answer answer;
  while (!bytes.empty()) {
    const auto next = next_part(bytes);
    if (!next) return std::nullopt;
    if (next->kind == "text") {
      answer.texts.emplace_back(next->content);
    } else if (next->kind == "error") {
      answer.errors.push_back(error_from_record(next->content));
    } else if (next->kind == "done") {
      const auto code = number<int>(next->content);
      if (!code || !bytes.empty()) return std::nullopt;
      answer.exit_code = *code;
      return answer;
    }
    // A kind that this version does not know is passed over.
  }
  return std::nullopt;
}

std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  const auto printable = [](char c) { return c >= ' ' && c <= '~'; };
  if (!std::ranges::all_of(line, printable)) return words;
  while (true) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (line.empty()) return words;
    const std::string_view word = line.substr(0, line.find(' '));
    words.emplace_back(word);
    line.remove_prefix(word.size());
  }
}

}  // namespace shunt::control
