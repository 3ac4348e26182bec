// SPDX-License-Identifier: GPL-2.0-only
// Parses one complete HTTP/1.x head (RFC 9112). Pure; every view points into the text given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shunt {

enum class HttpKind : std::uint8_t { request, response };

struct HttpHead {
  std::string_view method;  ///< requests only
  std::string_view target;
  std::string_view host;  ///< of an absolute target, else of the Host field, as it stands there
  bool several_hosts = false;   ///< several Host fields, or one that differs from the target's
  std::string_view other_host;  ///< the other one of these
  int status = 0;               ///< responses only
  std::string_view reason;
  int minor_version = 1;
  /// What the fields say of the body's length.
  std::optional<std::uint64_t> content_length;
  bool transfer_encoding = false;
  bool chunked = false;        ///< chunked is the last transfer coding
  bool length_faulty = false;  ///< invalid or contradicting length fields
};

/// The head including its blank line, without empty lines before it. Empty: not HTTP/1.x.
[[nodiscard]] std::optional<HttpHead> parse_http_head(HttpKind kind, std::string_view text);

/// Whether a first line, without its line end, is an HTTP/1.x request line or status line.
[[nodiscard]] bool is_http_first_line(HttpKind kind, std::string_view line);

/// Whether a first line may begin so. `start` is its first kHttpLineStartBytes bytes, or all so
/// far.
[[nodiscard]] bool may_start_http_line(HttpKind kind, std::string_view start);
inline constexpr std::size_t kHttpLineStartBytes = 33;  ///< the longest method taken, and a space

/// Whether bytes are such as a lenient server may take for a request, well formed or not: a word, a
/// blank, and at the end of the line a version. `maybe`: the line is not complete.
enum class HttpLikeness : std::uint8_t { no, maybe, yes };
[[nodiscard]] HttpLikeness http_likeness(std::string_view bytes);

/// The host of "host", "host:port" or "[v6]:port".
[[nodiscard]] std::string_view host_without_port(std::string_view host);

}  // namespace shunt
