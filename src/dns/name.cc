// SPDX-License-Identifier: GPL-2.0-only
#include "dns/name.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "dns/message.h"

namespace shunt::dns {
namespace {

constexpr std::uint8_t kPointerBits = 0xc0;

std::uint8_t byte_at(std::string_view message, std::size_t offset) {
  return static_cast<std::uint8_t>(message[offset]);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

void append_label(std::string& text, std::string_view label) {
  for (const char c : label) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '.' || c == '\\') {
      text += '\\';
      text += c;
    } else if (byte > 0x20 && byte < 0x7f) {
      text += lower(c);
    } else {
      text += '\\';
      text += static_cast<char>('0' + byte / 100);
      text += static_cast<char>('0' + byte / 10 % 10);
      text += static_cast<char>('0' + byte % 10);
    }
  }
}

bool meets(std::span<const FixedFields> fixed, std::size_t begin, std::size_t size) {
  const auto next = std::ranges::upper_bound(fixed, begin, {}, &FixedFields::end);
  return next != fixed.end() && next->begin < begin + size;
}

/// The byte that an escape at the front of `text` stands for; takes it off.
std::optional<char> take_escaped(std::string_view& text) {
  if (text.size() < 2) return std::nullopt;
  if (!is_digit(text[1])) {
    const char byte = text[1];
    text.remove_prefix(2);
    return byte;
  }
  if (text.size() < 4 || !is_digit(text[2]) || !is_digit(text[3])) return std::nullopt;
  const int value = (text[1] - '0') * 100 + (text[2] - '0') * 10 + (text[3] - '0');
  if (value > 255) return std::nullopt;
  text.remove_prefix(4);
  return static_cast<char>(value);
}

/// The next label of `text`, without the dot behind it.
std::optional<std::string> take_label(std::string_view& text) {
  std::string label;
  while (!text.empty() && text.front() != '.') {
    if (text.front() == '\\') {
      const auto byte = take_escaped(text);
      if (!byte) return std::nullopt;
      label += *byte;
    } else {
      label += text.front();
      text.remove_prefix(1);
    }
  }
  if (label.empty() || label.size() > kLongestLabel) return std::nullopt;
  return label;
}

}  // namespace

std::optional<std::size_t> name_end(std::string_view message, std::size_t offset) {
  while (offset < message.size()) {
    const std::uint8_t length = byte_at(message, offset);
    if (length == 0) return offset + 1;
    if ((length & kPointerBits) == kPointerBits) {
      if (offset + 2 > message.size()) return std::nullopt;
      return offset + 2;
    }
    if (length > kLongestLabel) return std::nullopt;
    offset += 1 + length;
  }
  return std::nullopt;
}

std::optional<std::string> read_name(std::string_view message, std::size_t offset,
                                     std::span<const FixedFields> fixed) {
  std::string text;
  std::size_t bytes = 1;  // the root label
  std::size_t part = offset;
  std::size_t end = message.size();
  for (std::size_t pointers = 0; offset < end;) {
    const std::uint8_t length = byte_at(message, offset);
    const bool is_pointer = (length & kPointerBits) == kPointerBits;
    if (meets(fixed, offset, is_pointer ? 2 : std::size_t{length} + 1)) return std::nullopt;
    if (length == 0) return text;
    if (is_pointer) {
      if (offset + 2 > end || ++pointers > kMostPointers) return std::nullopt;
      offset = (length & ~kPointerBits & 0xffU) << 8 | byte_at(message, offset + 1);
      if (offset < kHeaderBytes || offset >= part) return std::nullopt;
      // What it leads to is a prior name, which ends before this one begins (section 4.1.4).
      end = std::exchange(part, offset);
      continue;
    }
    bytes += 1 + length;
    if (length > kLongestLabel || bytes > kLongestName) return std::nullopt;
    if (offset + 1 + length > end) return std::nullopt;
    if (!text.empty()) text += '.';
    append_label(text, message.substr(offset + 1, length));
    offset += 1 + length;
  }
  return std::nullopt;
}

std::optional<std::string> name_to_wire(std::string_view name) {
  std::string wire;
  while (!name.empty()) {
    const auto label = take_label(name);
    if (!label) return std::nullopt;
    wire += static_cast<char>(label->size());
    wire += *label;
    if (wire.size() + 1 > kLongestName) return std::nullopt;
    if (name.empty()) break;
    name.remove_prefix(1);
    if (name.empty()) return std::nullopt;  // a final dot
  }
  wire += '\0';
  return wire;
}

}  // namespace shunt::dns
