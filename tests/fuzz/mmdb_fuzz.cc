// SPDX-License-Identifier: GPL-2.0-only
// Bytes as an address database: refused, or asked for addresses, some of them made of its own
// bytes. Metadata are at the end, so the beginnings of a valid file are refused; the fuzzer's own
// inputs get further.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "policy/mmdb.h"

namespace {

using namespace shunt;

void ask(const Mmdb& database, const Address& address) {
  const auto country = database.country(address);
  const auto system = database.autonomous_system(address);
  if (country != database.country(address)) std::abort();
  if (system != database.autonomous_system(address)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto database =
      Mmdb::parse(std::string(reinterpret_cast<const char*>(data), size), {.path = "fuzz"});
  if (!database) return 0;
  for (const char* text : {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1",
                           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}) {
    ask(**database, *Address::parse(text));
  }
  for (std::size_t at = 0; at + 16 <= std::min<std::size_t>(size, 256); at += 16) {
    in6_addr v6;
    std::memcpy(&v6, data + at, sizeof v6);
    ask(**database, Address(v6));
    in_addr v4;
    std::memcpy(&v4, data + at, sizeof v4);
    ask(**database, Address(v4));
  }
  return 0;
}
