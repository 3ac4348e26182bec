// SPDX-License-Identifier: GPL-2.0-only
// What the kernel says of packets that wait in a queue (linux/netfilter/nfnetlink_queue.h). Pure,
// and bounded by the bytes given.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace shunt {

/// A packet that waits for a verdict.
struct QueuedPacket {
  std::uint32_t id = 0;            ///< what the verdict names
  std::uint8_t hook = 0;           ///< NF_INET_PRE_ROUTING, NF_INET_LOCAL_OUT, …
  std::uint32_t mark = 0;          ///< the packet's
  std::uint32_t in_interface = 0;  ///< index; 0: none, it leaves this machine
  std::string_view bytes;          ///< from the network header, as many as were asked for
};

/// Takes the packets out of what one recv() of a queue's socket returned, one after the other. What
/// is no packet, or is cut short, is passed over.
class QueueMessages {
 public:
  explicit QueueMessages(std::string_view received) : rest_(received) {}
  /// The next packet; its bytes lie in what was received. Empty at the end.
  std::optional<QueuedPacket> next();

 private:
  std::string_view rest_;
};

}  // namespace shunt
