// SPDX-License-Identifier: GPL-2.0-only
// Whatever a packet begins with: its head is the same when more of it is seen, and what is taken
// for TCP has both addresses of one family.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "capture/syn_packet.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view packet(reinterpret_cast<const char*>(data), size);
  const auto head = shunt::tcp_head(packet);
  if (!head) return 0;
  if (size < 34) std::abort();
  const auto longer = shunt::tcp_head(std::string(packet) + "more");
  if (!longer || *longer != *head) std::abort();
  return 0;
}
