// SPDX-License-Identifier: GPL-2.0-only
#include "egress/way_out_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "base/error_numbers.h"
#include "base/escape.h"
#include "egress/wire/socks5.h"

namespace shunt {
namespace {

constexpr std::string_view kExample = "--via socks5://proxy.example:1080";

struct SchemeName {
  std::string_view text;
  ProxyScheme scheme;
  std::uint16_t default_port;
};

constexpr std::array kSchemes = std::to_array<SchemeName>({
    {"socks5", ProxyScheme::socks5, 1080},
    {"socks5h", ProxyScheme::socks5h, 1080},
    {"socks4a", ProxyScheme::socks4a, 1080},
    {"http", ProxyScheme::http, 8080},
    {"https", ProxyScheme::https, 443},
});

const SchemeName& name_of(ProxyScheme scheme) {
  return *std::ranges::find(kSchemes, scheme, &SchemeName::scheme);
}

bool is_control(char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; }

// Columns of escaped text on a terminal: bytes that continue a UTF-8 character take none.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

/// A URL that is being taken apart; knows where each part stands, for the caret.
class UrlParser {
 public:
  explicit UrlParser(std::string_view text) : text_(text) {}

  Result<ProxyUrl> parse() {
    SHUNT_CHECK(take_scheme());
    SHUNT_CHECK(check_tail());
    SHUNT_CHECK(take_user());
    SHUNT_CHECK(take_host());
    SHUNT_CHECK(take_port());
    return std::move(url_);
  }

 private:
  Result<void> take_scheme();
  Result<void> check_tail();
  Result<void> take_user();
  Result<void> take_host();
  Result<void> take_port();
  Result<std::string> percent_decoded(std::string_view part) const;

  [[nodiscard]] std::size_t column(std::string_view part) const {
    return static_cast<std::size_t>(part.data() - text_.data());
  }
  [[nodiscard]] Failure wrong(std::string_view part, std::string_view what,
                              std::string help = {}) const {
    return Failure(Error{.kind = Kind::usage,
                         .os_error = 0,
                         .message = fmt::format("--via: {}", what),
                         .help = std::move(help),
                         .number = error_number::kBadVia,
                         .place = place(part)});
  }
  [[nodiscard]] std::string place(std::string_view part) const;
  [[nodiscard]] Failure password_given(std::string_view password) const;

  std::string_view text_;
  std::string_view rest_;
  ProxyUrl url_;
};

// Whatever stands between a ':' and the last '@' of the authority may be a password, also in a URL
// that is wrong elsewhere, so the place shows it as dots.
std::string masked(std::string_view text) {
  std::string out(text);
  const auto scheme = text.find("://");
  const auto start = scheme == std::string_view::npos ? 0 : scheme + 3;
  const auto at = text.rfind('@');
  const auto colon = text.find(':', start);
  if (at == std::string_view::npos || colon == std::string_view::npos || colon > at) return out;
  std::ranges::fill(out.begin() + static_cast<std::ptrdiff_t>(colon) + 1,
                    out.begin() + static_cast<std::ptrdiff_t>(at), '.');
  return out;
}

std::string UrlParser::place(std::string_view part) const {
  const std::string shown = masked(text_);
  const std::string before = escaped(std::string_view(shown).substr(0, column(part)));
  const std::string marked = escaped(std::string_view(shown).substr(column(part), part.size()));
  return fmt::format("{}\n{}{}", escaped(shown), std::string(columns(before), ' '),
                     std::string(std::max<std::size_t>(columns(marked), 1), '^'));
}

Failure UrlParser::password_given(std::string_view password) const {
  Failure failure =
      wrong(password, "a password on the command line can be read by every user",
            fmt::format("leave it out and use --via-password-file FILE or {}", kPasswordVariable));
  failure.error().number = error_number::kPasswordOnCommandLine;
  return failure;
}

Result<void> UrlParser::take_scheme() {
  const auto end = text_.find("://");
  if (end == std::string_view::npos) {
    return wrong(text_.substr(0, 0), "the proxy's URL begins with its scheme",
                 std::string(kExample));
  }
  const auto scheme = text_.substr(0, end);
  // RFC 3986 section 3.1: schemes do not depend on case.
  std::string lower(scheme);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto* found = std::ranges::find(kSchemes, lower, &SchemeName::text);
  if (found == kSchemes.end()) {
    return wrong(scheme, "unknown kind of proxy",
                 "socks5://, socks5h://, socks4a://, http:// or https://");
  }
  url_.scheme = found->scheme;
  url_.port = found->default_port;
  rest_ = text_.substr(end + 3);
  return {};
}

// A lone "/" behind the authority is harmless; anything else was meant to have an effect.
Result<void> UrlParser::check_tail() {
  const auto at = rest_.rfind('@');
  const auto tail = rest_.find_first_of("/?#", at == std::string_view::npos ? 0 : at);
  if (tail == std::string_view::npos) return {};
  if (rest_.substr(tail) != "/") {
    return wrong(rest_.substr(tail), "nothing may follow the port", std::string(kExample));
  }
  rest_ = rest_.substr(0, tail);
  return {};
}

Result<void> UrlParser::take_user() {
  const auto at = rest_.rfind('@');
  if (at == std::string_view::npos) return {};
  auto user = rest_.substr(0, at);
  rest_ = rest_.substr(at + 1);
  const auto colon = user.find(':');
  if (colon != std::string_view::npos) return password_given(user.substr(colon + 1));
  if (user.empty()) return wrong(user, "no user name before the @");
  url_.user = SHUNT_TRY(percent_decoded(user));
  if (url_.user->size() > socks5::kLongestCredential) {
    return wrong(user, "a user name has at most 255 bytes");
  }
  // RFC 7617 section 2: Basic credentials are split at the first colon.
  if (is_http(url_.scheme) && url_.user->contains(':')) {
    return wrong(user, "a user name for HTTP cannot hold a colon");
  }
  return {};
}

Result<void> UrlParser::take_host() {
  if (rest_.starts_with('[')) {
    const auto end = rest_.find(']');
    if (end == std::string_view::npos) return wrong(rest_, "the bracket is not closed");
    const auto inside = rest_.substr(1, end - 1);
    url_.host = SHUNT_TRY(percent_decoded(inside));  // "%25eth0": RFC 6874
    const auto address = Address::parse(url_.host.substr(0, url_.host.find('%')));
    if (!address || address->is_v4() || std::ranges::any_of(url_.host, is_control)) {
      return wrong(inside, "not an IPv6 address");
    }
    rest_ = rest_.substr(end + 1);
    return {};
  }
  const auto host = rest_.substr(0, rest_.find(':'));
  if (host.empty()) return wrong(host, "no host", std::string(kExample));
  if (rest_.substr(host.size()).find(':') != rest_.substr(host.size()).rfind(':')) {
    return wrong(rest_, "an IPv6 address stands in brackets", "socks5://[2001:db8::1]:1080");
  }
  const auto bad =
      std::ranges::find_if(host, [](char c) { return is_control(c) || c == '%' || c == '\\'; });
  if (bad != host.end()) {
    return wrong(host.substr(static_cast<std::size_t>(bad - host.begin()), 1),
                 "no such character in a host name");
  }
  url_.host = host;
  rest_ = rest_.substr(host.size());
  return {};
}

Result<void> UrlParser::take_port() {
  if (rest_.empty()) return {};
  if (!rest_.starts_with(':')) return wrong(rest_, "a colon and a port, or nothing");
  const auto port = rest_.substr(1);
  unsigned value = 0;
  const auto* end = port.data() + port.size();
  const auto parsed = std::from_chars(port.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end || value == 0 || value > 65535) {
    return wrong(port, "a port is a number from 1 to 65535");
  }
  url_.port = static_cast<std::uint16_t>(value);
  return {};
}

Result<std::string> UrlParser::percent_decoded(std::string_view part) const {
  std::string out;
  for (std::size_t i = 0; i < part.size(); ++i) {
    if (part[i] != '%') {
      out += part[i];
      continue;
    }
    unsigned value = 0;
    const auto hex = part.substr(i + 1, 2);
    const auto parsed = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
    if (hex.size() != 2 || parsed.ptr != hex.data() + 2 || value == 0) {
      return wrong(part.substr(i, 1 + hex.size()), "% and two hexadecimal digits, not 00");
    }
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

}  // namespace

bool is_http(ProxyScheme scheme) {
  return scheme == ProxyScheme::http || scheme == ProxyScheme::https;
}

std::string ProxyUrl::name() const {
  const bool bracketed = host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", name_of(scheme).text, bracketed ? "[" : "", host,
                     bracketed ? "]" : "", port);
}

Result<ProxyUrl> parse_proxy_url(std::string_view text) { return UrlParser(text).parse(); }

}  // namespace shunt
