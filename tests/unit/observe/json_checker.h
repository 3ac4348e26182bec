// SPDX-License-Identifier: GPL-2.0-only
// A strict JSON checker of its own kind: it shares no code with what writes the lines.
#pragma once

#include <cctype>
#include <string>
#include <string_view>

namespace shunt {

class JsonChecker {
 public:
  explicit JsonChecker(std::string_view text) : rest_(text) {}
  bool run() { return value(0) && rest_.empty(); }

 private:
  static constexpr int kDepth = 8;

  bool take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  bool value(int depth) {
    if (depth > kDepth || rest_.empty()) return false;
    switch (rest_.front()) {
      case '{': return members(depth, '}', true);
      case '[': return members(depth, ']', false);
      case '"': return string();
      case 't': return take("true");
      case 'f': return take("false");
      default: return number();
    }
  }
  bool members(int depth, char close, bool keyed) {
    const std::string_view end(&close, 1);
    rest_.remove_prefix(1);
    if (take(end)) return true;
    do {
      if (keyed && !(string() && take(":"))) return false;
      if (!value(depth + 1)) return false;
    } while (take(","));
    return take(end);
  }
  bool number() {
    std::size_t digits = 0;
    while (digits < rest_.size() && std::isdigit(static_cast<unsigned char>(rest_[digits])) != 0) {
      ++digits;
    }
    if (digits == 0 || (digits > 1 && rest_[0] == '0')) return false;
    rest_.remove_prefix(digits);
    return true;
  }
  bool string() {
    if (!take("\"")) return false;
    while (!rest_.empty() && rest_.front() != '"') {
      if (!(rest_.front() == '\\' ? escape() : utf8())) return false;
    }
    return take("\"");
  }
  bool hex4() {
    if (rest_.size() < 4) return false;
    for (const char c : rest_.substr(0, 4)) {
      if (std::isxdigit(static_cast<unsigned char>(c)) == 0) return false;
    }
    last_hex_ = static_cast<unsigned>(std::stoul(std::string(rest_.substr(0, 4)), nullptr, 16));
    rest_.remove_prefix(4);
    return true;
  }
  bool escape() {
    rest_.remove_prefix(1);
    if (!take("u")) {
      const bool known = !rest_.empty() && std::string_view("\"\\/bfnrt").contains(rest_.front());
      if (known) rest_.remove_prefix(1);
      return known;
    }
    if (!hex4() || (last_hex_ >= 0xdc00 && last_hex_ < 0xe000)) return false;
    if (last_hex_ < 0xd800 || last_hex_ >= 0xdc00) return true;
    return take("\\u") && hex4() && last_hex_ >= 0xdc00 && last_hex_ < 0xe000;
  }
  /// Well-formed byte sequences: table 3-7 of the Unicode standard.
  bool utf8() {
    const auto at = [this](std::size_t i) {
      return i < rest_.size() ? static_cast<unsigned char>(rest_[i]) : 0U;
    };
    const auto tail = [&](std::size_t i) { return at(i) >= 0x80 && at(i) <= 0xbf; };
    const unsigned lead = at(0);
    std::size_t size = 0;
    if (lead >= 0x20 && lead < 0x7f) size = 1;
    if (lead >= 0xc2 && lead <= 0xdf && tail(1)) size = 2;
    if (lead >= 0xe0 && lead <= 0xef && tail(1) && tail(2) && (lead != 0xe0 || at(1) >= 0xa0) &&
        (lead != 0xed || at(1) < 0xa0)) {
      size = 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4 && tail(1) && tail(2) && tail(3) &&
        (lead != 0xf0 || at(1) >= 0x90) && (lead != 0xf4 || at(1) < 0x90)) {
      size = 4;
    }
    rest_.remove_prefix(size);
    return size != 0;
  }

  std::string_view rest_;
  unsigned last_hex_ = 0;
};

inline bool is_strict_json(std::string_view text) { return JsonChecker(text).run(); }

/// Only what JSON itself needs, so that the checker's look at UTF-8 and controls remains.
inline std::string escaped_for_json_check(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace shunt
