// SPDX-License-Identifier: GPL-2.0-only
#include "config/source_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace shunt {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
/// A longer line is neither repeated for each rule in it, nor are its characters counted for each
/// value: there may be a hundred thousand.
constexpr std::size_t kLongLineBytes = 4096;

/// What keys of secrets have in their names, whether or not shunt knows such a key.
constexpr std::array<std::string_view, 3> kSecretWords = {"pass", "secret", "token"};

bool is_key_byte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '"';
}

void hide(std::string& line, std::size_t first, std::size_t end) {
  for (std::size_t at = first; at < end; ++at) {
    if (line[at] != ' ') line[at] = '*';
  }
}

/// `password = "…"`: what stands behind the sign. The name of a file is no secret.
void hide_values(std::string& line) {
  std::string lower = line;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const std::string_view word : kSecretWords) {
    for (std::size_t at = lower.find(word); at != std::string::npos;
         at = lower.find(word, at + 1)) {
      std::size_t end = at;
      while (end < lower.size() && is_key_byte(lower[end])) ++end;
      const bool names_file = std::string_view(lower).substr(0, end).ends_with("-file");
      const std::size_t sign = lower.find_first_not_of(' ', end);
      if (names_file || sign == std::string::npos || lower[sign] != '=') continue;
      hide(line, sign + 1, line.size());
    }
  }
}

/// `socks5://user:password@host`.
void hide_passwords_of_urls(std::string& line) {
  for (std::size_t at = line.find("://"); at != std::string::npos; at = line.find("://", at + 1)) {
    const std::size_t authority = at + 3;
    const std::size_t end = std::min(line.find_first_of("\"' ", authority), line.size());
    const std::size_t host = line.rfind('@', end);
    const std::size_t colon = line.find(':', authority);
    if (host == std::string::npos || host < authority || colon > host) continue;
    hide(line, colon + 1, host);
  }
}

/// As it may be shown: errors and logs are read by more people than the file.
std::string without_secrets(std::string_view text) {
  std::string line(text);
  hide_values(line);
  hide_passwords_of_urls(line);
  return line;
}

}  // namespace

SourceText::SourceText(std::string file, std::string text)
    : file_(std::move(file)), text_(std::move(text)) {
  if (text_.starts_with(kByteOrderMark)) text_.erase(0, kByteOrderMark.size());
  starts_.push_back(0);
  for (std::size_t at = text_.find('\n'); at != std::string::npos; at = text_.find('\n', at + 1)) {
    starts_.push_back(at + 1);
  }
}

std::string_view SourceText::line(std::uint32_t number) const {
  if (number == 0 || number > starts_.size()) return {};
  const std::size_t start = starts_[number - 1];
  const std::size_t end = number < starts_.size() ? starts_[number] - 1 : text_.size();
  std::string_view line = std::string_view(text_).substr(start, end - start);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::uint32_t SourceText::bytes_of(std::uint32_t number, std::uint32_t characters) const {
  const std::string_view text = line(number);
  if (text.size() > kLongLineBytes) {
    return static_cast<std::uint32_t>(std::min<std::size_t>(characters, text.size()));
  }
  std::size_t bytes = 0;
  const auto continues = [&] {
    return bytes < text.size() && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80;
  };
  for (; characters > 0 && bytes < text.size(); --characters) {
    ++bytes;
    while (continues()) ++bytes;
  }
  return static_cast<std::uint32_t>(bytes);
}

RulePlace SourceText::rule_place(const TextPlace& place) const {
  RulePlace out{.file = file_, .line = place.line, .column = place.column, .line_text = {}};
  const std::string_view text = line(place.line);
  if (text.size() <= kLongLineBytes) out.line_text = without_secrets(text);
  return out;
}

Error SourceText::error_at(const TextPlace& place, int number, std::string message,
                           std::string help, std::string_view suggestion) const {
  const RuleMistake mistake{.first = 0,
                            .length = std::max<std::size_t>(place.length, 1),
                            .message = std::move(message),
                            .suggestion = std::string(suggestion),
                            .help = std::move(help),
                            .number = number};
  RulePlace shown{.file = file_, .line = place.line, .column = place.column, .line_text = {}};
  shown.line_text = without_secrets(line(place.line));
  return mistake_error(mistake, {}, shown);
}

}  // namespace shunt
