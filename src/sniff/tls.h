// SPDX-License-Identifier: GPL-2.0-only
// The first handshake message of each side of a TLS connection (RFC 8446 section 4.1; RFC 6066
// section 3 for the server name; RFC 7301 for ALPN; draft-ietf-tls-esni for ECH).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shunt {

enum class TlsMessage : std::uint8_t { client_hello = 1, server_hello = 2 };

/// Puts one handshake message together, however it was cut into records and segments. Keeps at
/// most limits::kTlsHelloBytes, and only what has arrived: announced lengths reserve nothing.
class TlsHelloReader {
 public:
  enum class State : std::uint8_t { need_more, complete, stopped };

  explicit TlsHelloReader(TlsMessage expected) : expected_(expected) {}
  /// The state never changes again once it is not need_more.
  State feed(std::string_view bytes);
  /// The message's body, when complete; valid while this lives.
  [[nodiscard]] std::string_view body() const;
  [[nodiscard]] State state() const { return state_; }

 private:
  void feed_record(std::string_view part);
  void take_header_byte(char byte);
  void check_message();
  [[nodiscard]] std::size_t message_bytes() const;

  std::string message_;            // with its header
  std::uint32_t record_left_ = 0;  // payload of the current record still to come
  std::uint8_t header_at_ = 0;     // bytes of the record header seen
  std::uint8_t record_high_ = 0;   // the upper byte of its length
  TlsMessage expected_;
  State state_ = State::need_more;
};

struct ClientHello {
  std::string server_name;  ///< "" without one; as sent, unchecked
  std::vector<std::string> alpn;
  bool ech = false;  ///< an ECH extension, or a GREASE one: they cannot be told apart
};

struct ServerHello {
  std::uint16_t version = 0;
  std::string alpn;  ///< "" where none or encrypted
};

[[nodiscard]] std::optional<ClientHello> parse_client_hello(std::string_view body);
[[nodiscard]] std::optional<ServerHello> parse_server_hello(std::string_view body);

}  // namespace shunt
