// SPDX-License-Identifier: GPL-2.0-only
#include "egress/wire/http_connect.h"

#include <algorithm>

#include "base/limits.h"

namespace shunt::http_connect {
namespace {

using Status = Decoded<Response>::Status;

constexpr std::string_view kVersionPrefix = "HTTP/1.";
constexpr std::string_view kStatusForm = "HTTP/1.x nnn";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Takes one line off the front, without its line end. False when the line is not complete.
bool take_line(std::string_view& bytes, std::string_view& line) {
  const auto end = bytes.find('\n');
  if (end == std::string_view::npos) return false;
  line = bytes.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  bytes.remove_prefix(end + 1);
  return true;
}

// So that a peer that speaks something else is known at once, not after 16 KiB of it.
bool may_begin_status_line(std::string_view bytes) {
  const auto known = std::min(bytes.size(), kVersionPrefix.size());
  return bytes.substr(0, known) == kVersionPrefix.substr(0, known);
}

bool parse_status_line(std::string_view line, int& status) {
  if (line.size() < kStatusForm.size() || !line.starts_with(kVersionPrefix)) return false;
  const bool well_formed = is_digit(line[7]) && line[8] == ' ' && line[9] >= '1' &&
                           line[9] <= '9' && is_digit(line[10]) && is_digit(line[11]) &&
                           (line.size() == kStatusForm.size() || line[12] == ' ');
  if (!well_formed) return false;
  status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  return true;
}

void note_header(std::string_view line, Response& response) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return;
  const auto is_named = [name = line.substr(0, colon)](std::string_view wanted) {
    return std::ranges::equal(name, wanted, {}, lower, lower);
  };
  if (is_named("proxy-status")) response.proxy_status = trimmed(line.substr(colon + 1));
  if (is_named("x-squid-error")) response.squid_error = trimmed(line.substr(colon + 1));
}

// One head, interim or final, off the front of `bytes`.
Status take_head(std::string_view& bytes, Response& response) {
  if (!may_begin_status_line(bytes)) return Status::malformed;
  std::string_view line;
  if (!take_line(bytes, line)) return Status::need_more;
  if (!parse_status_line(line, response.status)) return Status::malformed;
  response.status_line = line;
  do {
    if (!take_line(bytes, line)) return Status::need_more;
    note_header(line, response);
  } while (!line.empty());
  return Status::complete;
}

}  // namespace

std::string request(const Endpoint& destination, std::string_view authorization) {
  return request({}, destination, authorization);
}

std::string request(std::string_view name, const Endpoint& destination,
                    std::string_view authorization) {
  const std::string authority =
      name.empty()
          ? Endpoint{.address = destination.address, .port = destination.port, .scope_id = 0}.text()
          : std::string(name) + ":" + std::to_string(destination.port);
  std::string out = "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n";
  if (!authorization.empty()) out.append("Proxy-Authorization: ").append(authorization) += "\r\n";
  return out += "\r\n";
}

std::string basic_authorization(std::string_view user, std::string_view password) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string plain(user);
  plain.append(":").append(password);
  std::string out = "Basic ";
  for (std::size_t i = 0; i < plain.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      group = group << 8 | (i + j < plain.size() ? static_cast<std::uint8_t>(plain[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += i + j <= plain.size() ? kAlphabet[group >> (18 - 6 * j) & 0x3f] : '=';
    }
  }
  return out;
}

Decoded<Response> decode_response(std::string_view bytes) {
  std::string_view rest = bytes.substr(0, limits::kHttpHeadBytes);
  Decoded<Response> result;
  do {
    result.value = {};
    result.status = take_head(rest, result.value);
    if (result.status == Status::need_more && bytes.size() >= limits::kHttpHeadBytes) {
      result.status = Status::malformed;
    }
    if (result.status != Status::complete) return result;
  } while (result.value.status < 200 && result.value.status != 101);
  result.size = static_cast<std::size_t>(rest.data() - bytes.data());
  return result;
}

}  // namespace shunt::http_connect
