// SPDX-License-Identifier: GPL-2.0-only
// Messages of sendmsg(2) and recvmsg(2) between a program's memory and ours. Everything is copied
// once, and only the copy is looked at: the program's other threads may change what it came from.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "capture/trapped_socket.h"

namespace shunt {

inline constexpr std::size_t kMostDatagramBytes = 65'535;

/// Where a program's message lies in its memory. As the program said; nothing is checked.
struct MessageParts {
  std::uint64_t name = 0;  ///< 0: none
  std::uint32_t name_size = 0;
  std::vector<iovec> pieces;
  std::size_t bytes = 0;  ///< of the pieces
  std::uint64_t control = 0;
  std::size_t control_bytes = 0;
};

/// Of a struct msghdr; or the errno for the program.
std::expected<MessageParts, int> read_message_parts(pid_t thread, std::uint64_t header);
/// Of sendto(2) and recvfrom(2).
MessageParts parts_of_buffer(std::uint64_t buffer, std::uint64_t size);

/// A datagram that a program wants sent.
struct OutgoingMessage {
  std::string payload;
  std::string control;
  sockaddr_storage name{};
  std::uint32_t name_size = 0;  ///< 0: none
};
std::expected<void, int> copy_message(pid_t thread, const MessageParts& parts,
                                      OutgoingMessage& into);
/// Takes out what names a local address or interface (IP_PKTINFO, IPV6_PKTINFO): it means the way
/// to the destination, not the one to its stand-in.
void drop_packet_info(std::string& control);

/// A datagram that was received for a program.
struct IncomingMessage {
  std::string payload = std::string(kMostDatagramBytes, '\0');
  std::string control;
  sockaddr_storage name{};
  msghdr header{};
  iovec piece{};
  /// For recvmsg(): as much room as the program has.
  msghdr* prepare(const MessageParts& parts);
};
/// Writes what was received to where the program wants it; `source` (may be null) is the sender.
/// `received` bytes, what recvmsg() returned. Yields 0 or the errno.
int write_payload(pid_t thread, const MessageParts& parts, const IncomingMessage& message,
                  std::size_t received);
/// The fields of struct msghdr that recvmsg(2) fills in.
int write_header(const TrappedSocket& socket, pid_t thread, std::uint64_t header,
                 const MessageParts& parts, const IncomingMessage& message, const Endpoint* source);

}  // namespace shunt
