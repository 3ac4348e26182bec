// SPDX-License-Identifier: GPL-2.0-only
// Messages of sendmsg(2) and recvmsg(2) between a program's memory and ours. Everything is copied
// once, and only the copy is looked at: the program's other threads may change what it came from.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "capture/trapped_socket.h"

namespace shunt {

inline constexpr std::size_t kMostDatagramBytes = 65'535;

/// MSG_… of sendto(2), sendmsg(2), recvfrom(2) and their like.
[[nodiscard]] int message_flags(const TrappedCall& call);
/// Of sendmmsg(2) and recvmmsg(2): how many messages the program names (as the kernel caps them),
/// and where the struct mmsghdr of each is.
[[nodiscard]] std::uint64_t messages_of(const TrappedCall& call);
[[nodiscard]] std::uint64_t header_at(const TrappedCall& call, std::uint64_t index);
/// Writes its msg_len; false: EFAULT.
bool write_length(const TrappedCall& call, std::uint64_t index, std::int64_t bytes);
/// Nothing: EFAULT.
std::optional<std::int64_t> read_length(const TrappedCall& call, std::uint64_t index);

/// Counts what is done in a row, in one call of many messages and in many calls: others are to have
/// their turn in between.
class MessageTurn {
 public:
  explicit MessageTurn(CallContext& context) : context_(context) {}
  void add(std::size_t bytes);
  /// limits::kTurnMessages or kTurnMessageBytes.
  [[nodiscard]] bool over() const;

 private:
  CallContext& context_;
  std::size_t messages_ = 0;
  std::size_t bytes_ = 0;
};

/// Where a program's message lies in its memory. As the program said; nothing is checked but what
/// the kernel checks before it looks at any of it.
struct MessageParts {
  std::uint64_t name = 0;  ///< 0: none
  std::uint32_t name_size = 0;
  std::vector<iovec> pieces;
  std::size_t bytes = 0;  ///< of the pieces
  std::uint64_t control = 0;
  std::size_t control_bytes = 0;
};

/// Of a struct msghdr at `header` in the memory of `thread`; or the errno for the program: EFAULT,
/// EMSGSIZE, EINVAL, and what read_memory() says.
std::expected<MessageParts, int> read_message_parts(pid_t thread, std::uint64_t header);
/// The same of a message to be sent, where a name of no length is none (sendmsg(2)).
std::expected<MessageParts, int> read_sent_parts(pid_t thread, std::uint64_t header);
/// Of sendto(2) and recvfrom(2).
MessageParts parts_of_buffer(std::uint64_t buffer, std::uint64_t size);

/// Of bytes that are a datagram's payload: others have another one, as good as always.
[[nodiscard]] std::uint64_t digest_of(std::string_view payload);

/// A datagram that a program wants sent.
struct OutgoingMessage {
  std::string payload;
  std::string control;
  bool has_name = false;
  sockaddr_storage name{};
  std::uint32_t name_size = 0;
  /// Of the name and the payload: another message has another one, as good as always.
  [[nodiscard]] std::uint64_t digest() const;
};
/// From the memory of `thread`. Or the errno for the program: EMSGSIZE, EINVAL (the name is too
/// long), ENOBUFS (limits::kDatagramControl), and what read_memory() says; `into` then holds some
/// of it.
std::expected<void, int> copy_message(pid_t thread, const MessageParts& parts,
                                      OutgoingMessage& into);
/// Takes out what names a local address or interface (IP_PKTINFO, IPV6_PKTINFO): it means the way
/// to the destination, not the one to its stand-in. Whether the control parses, as the kernel does
/// it; else it may have lost some of its end.
[[nodiscard]] bool drop_packet_info(std::string& control);

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
/// Writes what was received to where the program, of which `thread` is one, wants it. `received` is
/// what recvmsg() returned, in bytes. Yields 0 or the errno (EFAULT, EPERM, ESRCH), when some of it
/// may have been written.
int write_payload(pid_t thread, const MessageParts& parts, const IncomingMessage& message,
                  std::size_t received);
/// What write_payload() wrote, as it is in the program's memory by now, into `into`. Yields the
/// errno as it does.
int read_payload(pid_t thread, const MessageParts& parts, IncomingMessage& into,
                 std::size_t received);
/// The fields of the struct msghdr at `header`, in the same memory, that recvmsg(2) fills in, with
/// the name and the control. `source` is the sender; null: there is none to show.
int write_header(const TrappedSocket& socket, pid_t thread, std::uint64_t header,
                 const MessageParts& parts, const IncomingMessage& message, const Endpoint* source);

}  // namespace shunt
