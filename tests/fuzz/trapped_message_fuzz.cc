// SPDX-License-Identifier: GPL-2.0-only
// Whatever control messages and addresses a program gives: no more comes out than went in, taking
// addresses out twice is the same as once, and what is taken for an address has the family that the
// socket can reach.
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "capture/trapped_message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string control(reinterpret_cast<const char*>(data), size);
  const bool whole = shunt::drop_packet_info(control);
  if (control.size() > size) std::abort();
  const std::string once = control;
  const bool still_whole = shunt::drop_packet_info(control);
  if ((whole && !still_whole) || control != once) std::abort();

  sockaddr_storage address{};
  const auto bytes = std::min(size, sizeof address);
  std::memcpy(&address, data, bytes);
  for (const int domain : {AF_INET, AF_INET6}) {
    shunt::TrappedSocket socket;
    socket.domain = domain;
    const auto parsed = shunt::parse_address(socket, address, static_cast<std::uint32_t>(bytes));
    if (parsed && *parsed && domain == AF_INET && !(*parsed)->address.is_v4()) std::abort();
  }
  return 0;
}
