// SPDX-License-Identifier: GPL-2.0-only
// Builds TLS hellos, well formed and otherwise.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace shunt::tls_samples {

inline std::string number(std::size_t value, std::size_t size) {
  std::string text;
  while (size-- > 0) text += static_cast<char>(value >> (8 * size) & 0xff);
  return text;
}

inline std::string vector(std::size_t length_size, std::string_view data) {
  return number(data.size(), length_size).append(data);
}

inline std::string extension(std::size_t type, std::string_view data) {
  return number(type, 2) + vector(2, data);
}

inline std::string server_name(std::string_view name) {
  return extension(0, vector(2, number(0, 1) + vector(2, name)));
}

inline std::string alpn(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += vector(1, name);
  return extension(16, vector(2, list));
}

inline std::string handshake(int type, std::string_view body) {
  return number(static_cast<std::size_t>(type), 1) + vector(3, body);
}

/// `message` in records of at most `record_size` bytes.
inline std::string records(std::string_view message, std::size_t record_size = 16'384) {
  std::string text;
  while (!message.empty()) {
    const auto part = message.substr(0, record_size);
    text += "\x16\x03\x01" + vector(2, part);
    message.remove_prefix(part.size());
  }
  return text;
}

inline std::string client_hello_message(std::string_view extensions) {
  return handshake(1, "\x03\x03" + std::string(32, 'r') + vector(1, std::string(32, 's')) +
                          vector(2, "\x13\x01\x13\x02") + vector(1, std::string(1, '\0')) +
                          vector(2, extensions));
}

inline std::string server_hello_message(std::string_view extensions) {
  return handshake(2, "\x03\x03" + std::string(32, 'r') + vector(1, "") +
                          std::string("\x13\x01\x00", 3) + vector(2, extensions));
}

inline std::string client_hello(std::string_view name, const std::vector<std::string>& protocols) {
  return records(client_hello_message(extension(10, "xx") + server_name(name) + alpn(protocols)));
}

inline std::string server_hello_tls12(const std::string& protocol) {
  return records(server_hello_message(protocol.empty() ? "" : alpn({protocol})));
}

inline std::string server_hello_tls13() {
  return records(server_hello_message(extension(43, "\x03\x04") + extension(51, "key")));
}

}  // namespace shunt::tls_samples
