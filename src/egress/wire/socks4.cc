// SPDX-License-Identifier: GPL-2.0-only
#include "egress/wire/socks4.h"

namespace shunt::socks4 {
namespace {

using Status = Decoded<ReplyCode>::Status;

constexpr char kVersion = 0x04;
constexpr char kConnect = 0x01;

bool fits(std::string_view text) {
  return text.size() <= kLongestText && text.find('\0') == std::string_view::npos;
}

}  // namespace

std::optional<std::string> request(std::string_view user, std::string_view domain,
                                   const Endpoint& destination) {
  if (!fits(user) || !fits(domain)) return std::nullopt;
  if (domain.empty() && !destination.address.is_v4()) return std::nullopt;
  std::string out{kVersion, kConnect, static_cast<char>(destination.port >> 8),
                  static_cast<char>(destination.port & 0xff)};
  // 0.0.0.x with x not zero: the name stands behind the user.
  if (domain.empty()) {
    out += destination.address.bytes();
  } else {
    out.append({0, 0, 0, 1});
  }
  out.append(user) += '\0';
  if (!domain.empty()) out.append(domain) += '\0';
  return out;
}

Decoded<ReplyCode> decode_reply(std::string_view bytes) {
  if (!bytes.empty() && bytes[0] != 0 && bytes[0] != kVersion) {
    return {.status = Status::malformed, .value = {}, .size = 0};
  }
  if (bytes.size() < kLongestMessage) return {};
  return {.status = Status::complete,
          .value = static_cast<ReplyCode>(static_cast<std::uint8_t>(bytes[1])),
          .size = kLongestMessage};
}

}  // namespace shunt::socks4
