// SPDX-License-Identifier: GPL-2.0-only
// What a hostile SOCKS5 server may say. A decoder that found its message finds the same one when
// more follows, takes no more than it was given, and none waits for more than the longest message.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "egress/sendable_name.h"
#include "egress/wire/socks5.h"

namespace {

using namespace shunt;

void check(bool holds) {
  if (!holds) std::abort();
}

template <class T>
void decode(Decoded<T> (*decoder)(std::string_view), std::string_view bytes,
            bool takes_everything_on_failure) {
  const auto whole = decoder(bytes);
  if (whole.complete()) {
    check(whole.size <= bytes.size());
    const auto alone = decoder(bytes.substr(0, whole.size));
    check(alone.complete() && (alone.size == whole.size || takes_everything_on_failure));
    check(!decoder(bytes.substr(0, whole.size / 2)).malformed());
  } else if (!whole.malformed()) {
    check(bytes.size() < socks5::kLongestMessage);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  decode(socks5::decode_method, bytes, false);
  decode(socks5::decode_password_reply, bytes, false);
  decode(socks5::decode_reply, bytes, true);
  if (const auto packet = socks5::decode_udp(bytes)) {
    check(packet->payload.size() < size);
    check(packet->payload.empty() ||
          packet->payload.data() + packet->payload.size() == bytes.data() + bytes.size());
    if (packet->endpoint) {  // the encoder's header says the same
      const auto again = socks5::decode_udp(socks5::udp_header(*packet->endpoint));
      check(again && again->endpoint == packet->endpoint);
    }
  }
  const auto name = sendable_name(bytes);
  check(name.size() <= socks5::kLongestDomain && bytes.starts_with(name));
  return 0;
}
