// SPDX-License-Identifier: GPL-2.0-only
// Requests of libshunt-preload.so (preload.abi.h), which any process of the machine may send.
#pragma once

#include <preload.abi.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shunt {

using PreloadToken = std::array<std::uint8_t, SHUNT_PRELOAD_TOKEN_BYTES>;

struct PreloadRequest {
  shunt_preload_kind kind = SHUNT_PRELOAD_HELLO;
  PreloadToken token{};
  sockaddr_storage address{};
  std::uint32_t address_size = 0;  ///< as the program gave it; at most sizeof address
};

/// Nothing where it is none of this version.
std::optional<PreloadRequest> parse_preload_request(std::string_view bytes);

/// In a time that does not depend on where they differ.
[[nodiscard]] bool same_token(const PreloadToken& one, const PreloadToken& other);
[[nodiscard]] std::string token_text(const PreloadToken& token);  ///< hexadecimal

}  // namespace shunt
