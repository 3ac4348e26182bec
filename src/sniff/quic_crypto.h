// SPDX-License-Identifier: GPL-2.0-only
// The protection of a client's QUIC Initial packets (RFC 9001 section 5; RFC 9369 section 3.3 for
// version 2): AES-128-GCM with keys that follow from the packet's own destination connection ID. So
// whoever sees a packet can open it; it proves that nothing was changed on the way, no more.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shunt {

enum class QuicVersion : std::uint32_t { v1 = 0x00000001, v2 = 0x6b3343cf };

struct QuicInitialKeys {
  std::array<std::uint8_t, 16> key;
  std::array<std::uint8_t, 12> iv;
  std::array<std::uint8_t, 16> header;  ///< of the header's protection
};

/// `connection_id`: the destination's, of the first packet that the client sent.
[[nodiscard]] QuicInitialKeys client_initial_keys(QuicVersion version,
                                                  std::string_view connection_id);

/// The payload of a whole packet, whose packet number begins at `number_at`. Empty where it is too
/// short, or was not made with these keys. Allocates as much as the packet holds.
[[nodiscard]] std::optional<std::string> open_initial(const QuicInitialKeys& keys,
                                                      std::string_view packet,
                                                      std::size_t number_at);

}  // namespace shunt
