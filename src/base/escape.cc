// SPDX-License-Identifier: GPL-2.0-only
#include "base/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace shunt {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

/// Sorted. Categories Cc, Cf, Co, Zl, Zp and default-ignorable characters of the Unicode character
/// database, with the blocks of combining marks (0300, 1AB0, 1DC0, 20D0, FE20), the blank of
/// Braille and specials.
constexpr Range kUnprintable[] = {
    {0x0000, 0x001f},   {0x007f, 0x009f},    {0x00ad, 0x00ad},   {0x0300, 0x036f},
    {0x0483, 0x0489},   {0x0600, 0x0605},    {0x061c, 0x061c},   {0x06dd, 0x06dd},
    {0x070f, 0x070f},   {0x08e2, 0x08e2},    {0x115f, 0x1160},   {0x17b4, 0x17b5},
    {0x180b, 0x180f},   {0x1ab0, 0x1aff},    {0x1dc0, 0x1dff},   {0x200b, 0x200f},
    {0x2028, 0x202f},   {0x205f, 0x206f},    {0x20d0, 0x20ff},   {0x2800, 0x2800},
    {0x3164, 0x3164},   {0xe000, 0xf8ff},    {0xfe00, 0xfe0f},   {0xfe20, 0xfe2f},
    {0xfeff, 0xfeff},   {0xffa0, 0xffa0},    {0xfff0, 0xffff},   {0x110bd, 0x110bd},
    {0x110cd, 0x110cd}, {0x13430, 0x1345f},  {0x1bca0, 0x1bca3}, {0x1d165, 0x1d169},
    {0x1d16d, 0x1d182}, {0x40000, 0x10ffff},
};

}  // namespace

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first < 0xe0 ? 2 : 3 + static_cast<std::size_t>(first >= 0xf0);
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return {};
  char32_t code = first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = (code << 6) | (byte(i) & 0x3f);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kSmallest[length] || code > 0x10ffff || surrogate) return {};
  return {code, length};
}

bool is_printable(char32_t code) {
  if (code >= ' ' && code < 0x7f) return true;
  return std::ranges::none_of(kUnprintable, [code](const Range& range) {
    return code >= range.first && code <= range.last;
  });
}

std::size_t append_first_escaped(std::string& out, std::string_view text) {
  const Character character = first_character(text);
  const std::size_t taken = character.bytes == 0 ? 1 : character.bytes;
  if (character.bytes != 0 && is_printable(character.code)) {
    if (character.code == '\\') out += '\\';
    out += text.substr(0, taken);
    return taken;
  }
  for (const char byte : text.substr(0, taken)) {
    fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(byte));
  }
  return taken;
}

std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) text.remove_prefix(append_first_escaped(out, text));
  return out;
}

}  // namespace shunt
