// SPDX-License-Identifier: GPL-2.0-only
// What a hostile SOCKS4 server may say, and what may be asked of one. A reply that was found is the
// same when more follows; a request holds no more zero bytes than the format gives it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "egress/wire/socks4.h"

namespace {

using namespace shunt;

void check(bool holds) {
  if (!holds) std::abort();
}

void ask(std::string_view user, std::string_view domain) {
  const auto request = socks4::request(user, domain, Endpoint{.address = {}, .port = 0x0101});
  if (!request) return;
  // Behind the fixed part: the user, the domain, and a zero byte after each.
  const std::string_view texts = std::string_view(*request).substr(8);
  check(std::ranges::count(texts, '\0') == (domain.empty() ? 1 : 2) && texts.ends_with('\0'));
  check(texts.size() <= 2 * (socks4::kLongestText + 1));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = socks4::decode_reply(bytes);
  if (whole.complete()) {
    check(whole.size == socks4::kLongestMessage && whole.size <= size);
    const auto alone = socks4::decode_reply(bytes.substr(0, whole.size));
    check(alone.complete() && alone.value == whole.value);
  } else if (!whole.malformed()) {
    check(size < socks4::kLongestMessage);
  }
  ask(bytes, {});
  ask({}, bytes);
  ask(bytes.substr(0, size / 2), bytes.substr(size / 2));
  return 0;
}
