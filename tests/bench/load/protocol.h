// SPDX-License-Identifier: GPL-2.0-only
// What the load tool's client and server say to each other. A connection starts with a Header; what
// follows depends on its mode. Or it speaks HTTP: then each request is kHttpRequestBytes long, asks
// for "/" and the length of the response, and gets it, head and all; 0 is a download.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace shunt::load {

enum class Mode : std::uint32_t {
  exchange,  ///< request bytes up, response bytes down, again and again; the client closes
  download,  ///< the server sends until the connection is closed
  upload,    ///< the server reads until the connection is closed
};

/// In the byte order of the machine that both run on.
struct Header {
  static constexpr std::uint32_t kMagic = 0x73686e74;
  std::uint32_t magic = kMagic;
  Mode mode = Mode::exchange;
  std::uint32_t request_bytes = 0;  ///< the header counts as the first request's beginning
  std::uint32_t response_bytes = 0;
};

inline constexpr std::size_t kHttpRequestBytes = 256;
inline constexpr std::string_view kHttpMethod = "GET ";

inline constexpr std::uint32_t kLargestMessage = 1U << 20;
inline constexpr std::size_t kBulkCall = 256 * 1024;

}  // namespace shunt::load
