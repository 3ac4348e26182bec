// SPDX-License-Identifier: GPL-2.0-only
// What recv() of a queue's socket may yield. Packets lie in what was received, one behind the
// other, and there is an end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "kernel/queue_message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view received(reinterpret_cast<const char*>(data), size);
  shunt::QueueMessages messages(received);
  std::size_t count = 0;
  while (const auto packet = messages.next()) {
    ++count;
    if (packet->bytes.empty()) continue;
    if (packet->bytes.data() < received.data()) std::abort();
    if (packet->bytes.data() + packet->bytes.size() > received.data() + size) std::abort();
  }
  constexpr std::size_t kSmallest = 20;  // of a message: its two headers
  if (count * kSmallest > size) std::abort();
  return 0;
}
