// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/http1_head.h"

#include <algorithm>
#include <charconv>

#include "base/limits.h"

namespace shunt {
namespace {

constexpr std::size_t kMethodBytes = kHttpLineStartBytes - 1;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// RFC 9110 section 5.6.2.
bool is_token_char(char c) {
  if (is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

bool same_ignoring_case(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + ('a' - 'A')) : a) == b;
  });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Cuts the text up to `separator` off `rest`; all of it where there is none.
std::string_view cut(std::string_view& rest, char separator) {
  const std::size_t at = rest.find(separator);
  const std::string_view part = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return part;
}

/// A single LF ends a line too (RFC 9112 section 2.2).
std::string_view cut_line(std::string_view& rest) {
  std::string_view line = cut(rest, '\n');
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

/// "HTTP/1.0" → 0, "HTTP/1.1" → 1.
std::optional<int> minor_version(std::string_view text) {
  if (text.size() != 8 || !text.starts_with("HTTP/1.") || !is_digit(text[7])) return {};
  return text[7] - '0';
}

/// The authority of an absolute target "http://host/path", "" for the other forms.
std::string_view authority(std::string_view target) {
  const std::size_t scheme_end = target.find("://");
  if (target.starts_with('/') || scheme_end == std::string_view::npos) return {};
  std::string_view rest = target.substr(scheme_end + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  const std::size_t user_end = rest.rfind('@');
  return user_end == std::string_view::npos ? rest : rest.substr(user_end + 1);
}

bool parse_request_line(std::string_view line, HttpHead& head) {
  const std::size_t method_end = line.find(' ');
  const std::size_t target_end = line.rfind(' ');
  if (method_end == std::string_view::npos || method_end == target_end) return false;
  head.method = line.substr(0, method_end);
  head.target = line.substr(method_end + 1, target_end - method_end - 1);
  const auto minor = minor_version(line.substr(target_end + 1));
  if (!minor || !is_token(head.method) || head.method.size() > kMethodBytes) return false;
  head.minor_version = *minor;
  head.host = authority(head.target);
  return !head.target.empty() && head.target.find_first_of(" \t\r") == std::string_view::npos;
}

/// "HTTP/1.1 200 OK"; the reason and the space before it may be missing.
bool parse_status_line(std::string_view line, HttpHead& head) {
  if (line.size() < 12 || line[8] != ' ' || (line.size() > 12 && line[12] != ' ')) return false;
  const auto minor = minor_version(line.substr(0, 8));
  const std::string_view digits = line.substr(9, 3);
  if (!minor || !std::ranges::all_of(digits, is_digit) || digits[0] == '0') return false;
  head.minor_version = *minor;
  std::from_chars(digits.data(), digits.data() + digits.size(), head.status);
  head.reason = trim(line.substr(12));
  return true;
}

bool parse_first_line(HttpKind kind, std::string_view line, HttpHead& head) {
  return kind == HttpKind::request ? parse_request_line(line, head) : parse_status_line(line, head);
}

/// "5", or "5, 5" as some proxies merge repeated fields; anything else is a fault.
void take_content_length(std::string_view value, HttpHead& head) {
  do {
    const std::string_view digits = trim(cut(value, ','));
    std::uint64_t length = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    const bool valid = error == std::errc() && end == digits.data() + digits.size() &&
                       is_digit(digits.front()) && length < (std::uint64_t{1} << 62);
    if (!valid || head.content_length.value_or(length) != length) {
      head.length_faulty = true;
      return;
    }
    head.content_length = length;
  } while (!value.empty());
}

void take_transfer_encoding(std::string_view value, HttpHead& head) {
  head.transfer_encoding = true;
  while (!value.empty()) {
    std::string_view coding = cut(value, ',');
    const std::string_view name = trim(cut(coding, ';'));
    if (name.empty()) continue;
    if (head.chunked) head.length_faulty = true;  // chunked must be the last, and only once
    head.chunked = same_ignoring_case(name, "chunked");
  }
}

std::string_view name_of(std::string_view host) {
  std::string_view name = host_without_port(host);
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

bool same_host(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(name_of(a), name_of(b), {}, lower, lower);
}

/// The target's goes before the field's (RFC 9112 section 3.2.2), but not every server heeds that.
/// False where there are more than two.
bool take_host(std::string_view value, HttpHead& head, bool seen) {
  if (head.host.empty() && !seen) {
    head.host = value;
  } else if (seen || (!value.empty() && !same_host(head.host, value))) {
    if (head.several_hosts && !same_host(head.other_host, value)) return false;
    head.several_hosts = true;
    head.other_host = value;
  }
  return true;
}

/// A space before the colon and folded lines are ways to smuggle a length past somebody: faults.
bool take_field(std::string_view line, HttpHead& head, bool& host_seen) {
  std::string_view value = line;
  const std::string_view name = cut(value, ':');
  if (name.size() == line.size() || !is_token(name)) return false;
  if (value.find_first_of(std::string_view("\r\0", 2)) != std::string_view::npos) return false;
  value = trim(value);
  if (same_ignoring_case(name, "host")) {
    if (!take_host(value, head, host_seen)) return false;
    host_seen = true;
  } else if (same_ignoring_case(name, "content-length")) {
    take_content_length(value, head);
  } else if (same_ignoring_case(name, "transfer-encoding")) {
    take_transfer_encoding(value, head);
  }
  return true;
}

/// "HTTP/1.1", "HTTP/2.0" and whatever else servers make of it.
bool is_like_version(std::string_view word) {
  constexpr std::string_view kName = "http/";
  return word.size() > kName.size() && same_ignoring_case(word.substr(0, kName.size()), kName) &&
         is_digit(word[kName.size()]);
}

}  // namespace

std::optional<HttpHead> parse_http_head(HttpKind kind, std::string_view text) {
  HttpHead head;
  if (!parse_first_line(kind, cut_line(text), head)) return {};
  bool host_seen = false;
  while (!text.empty()) {
    const std::string_view line = cut_line(text);
    if (line.empty()) break;
    if (!take_field(line, head, host_seen)) return {};
  }
  if (head.transfer_encoding && (head.content_length || head.minor_version == 0)) {
    head.length_faulty = true;
  }
  return head;
}

bool is_http_first_line(HttpKind kind, std::string_view line) {
  HttpHead head;
  return parse_first_line(kind, line, head);
}

bool may_start_http_line(HttpKind kind, std::string_view start) {
  constexpr std::string_view kVersion = "HTTP/1.";
  if (kind == HttpKind::response) {
    return start.substr(0, kVersion.size()) == kVersion.substr(0, start.size());
  }
  const std::size_t method_end = start.find(' ');
  if (method_end == std::string_view::npos && start.size() >= kHttpLineStartBytes) return false;
  return is_token(start.substr(0, method_end));
}

HttpLikeness http_likeness(std::string_view bytes) {
  constexpr std::string_view kBlanks = " \t";
  const bool full = bytes.size() >= limits::kHttpHeadBytes;
  const std::size_t start = bytes.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return full ? HttpLikeness::no : HttpLikeness::maybe;
  bytes.remove_prefix(start);
  const std::size_t line_end = bytes.find('\n');
  std::string_view line = bytes.substr(0, line_end);
  const std::string_view method = line.substr(0, line.find_first_of(kBlanks));
  const bool whole_method = method.size() < line.size();
  if (line_end != std::string_view::npos && line.ends_with('\r')) line.remove_suffix(1);
  if (line.contains('\0') || !is_token(method.substr(0, line.size()))) return HttpLikeness::no;
  if (line_end == std::string_view::npos) {
    if (!full) return HttpLikeness::maybe;
    return whole_method ? HttpLikeness::yes : HttpLikeness::no;
  }
  line = trim(line);
  const std::size_t last_blank = line.find_last_of(kBlanks);
  const bool versioned =
      last_blank != std::string_view::npos && is_like_version(line.substr(last_blank + 1));
  return versioned ? HttpLikeness::yes : HttpLikeness::no;
}

std::string_view host_without_port(std::string_view host) {
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    return end == std::string_view::npos ? std::string_view() : host.substr(1, end - 1);
  }
  return host.substr(0, host.find(':'));
}

}  // namespace shunt
