// SPDX-License-Identifier: GPL-2.0-only
#include "observe/shown.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/escape.h"
#include "base/limits.h"

namespace shunt {
namespace {

constexpr std::string_view kCutMark = "…";

/// Arrows, and the cross of a failure.
bool is_sign_of_ours(char32_t code) {
  return (code >= 0x2190 && code <= 0x21ff) || code == 0x2717 || code == 0x2718;
}

/// Calls append(rest), which answers how many bytes it took, for what of `text` is shown.
template <class Append>
void each_shown(std::string& out, std::string_view text, Append append) {
  const std::size_t unseen = text.size() - std::min(text.size(), limits::kLogTextBytes);
  while (text.size() > unseen) text.remove_prefix(append(text));
  if (unseen != 0) out += kCutMark;
}

std::size_t append_first_json(std::string& out, std::string_view text) {
  const Character character = first_character(text);
  const auto to = std::back_inserter(out);
  if (character.bytes == 0) {
    out += "\\ufffd";
    return 1;
  }
  const auto code = static_cast<std::uint32_t>(character.code);
  if (is_printable(character.code)) {
    if (code == '"' || code == '\\') out += '\\';
    out += text.substr(0, character.bytes);
  } else if (code < 0x10000) {
    fmt::format_to(to, "\\u{:04x}", code);
  } else {  // a surrogate pair (RFC 8259 section 7)
    const std::uint32_t rest = code - 0x10000;
    fmt::format_to(to, "\\u{:04x}\\u{:04x}", 0xd800 + (rest >> 10), 0xdc00 + (rest & 0x3ff));
  }
  return character.bytes;
}

}  // namespace

std::string shown(std::string_view text) {
  std::string out;
  out.reserve(std::min(text.size(), limits::kLogTextBytes));
  each_shown(out, text, [&out](std::string_view rest) -> std::size_t {
    if (rest.front() == ' ' && out.ends_with(' ')) {
      out += "\\x20";
      return 1;
    }
    const Character character = first_character(rest);
    if (!is_sign_of_ours(character.code)) return append_first_escaped(out, rest);
    for (const char byte : rest.substr(0, character.bytes)) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(byte));
    }
    return character.bytes;
  });
  return out;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  each_shown(out, text, [&out](std::string_view rest) { return append_first_json(out, rest); });
  out += '"';
}

std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace shunt
