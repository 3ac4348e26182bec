// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_message.h"

#include <limits.h>
#include <netinet/in.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>
#include <utility>

#include "capture/call_limits.h"

namespace shunt {
namespace {

constexpr std::uint64_t kMostMessages = 1024;  // UIO_MAXIOV: ___sys_sendmmsg() takes no more
constexpr std::size_t kWorkBytes = 8 * 1024;   // that take about as long as a call does

std::uint64_t number_of(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

void* pointer_to(std::uint64_t address) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it is another process's
  return reinterpret_cast<void*>(address);
}

/// Of the message's pieces those that the first `bytes` lie in.
std::vector<iovec> first_pieces(const MessageParts& parts, std::size_t bytes) {
  std::vector<iovec> pieces;
  for (std::size_t left = bytes; const iovec& piece : parts.pieces) {
    if (left == 0) break;
    const std::size_t taken = std::min(left, piece.iov_len);
    pieces.push_back({.iov_base = piece.iov_base, .iov_len = taken});
    left -= taken;
  }
  return pieces;
}

bool is_packet_info(const cmsghdr& header) {
  return (header.cmsg_level == SOL_IP && header.cmsg_type == IP_PKTINFO) ||
         (header.cmsg_level == SOL_IPV6 && header.cmsg_type == IPV6_PKTINFO);
}

}  // namespace

int message_flags(const TrappedCall& call) {
  const bool third = call.number == SYS_sendmsg || call.number == SYS_recvmsg;
  return static_cast<int>(call.arguments[third ? 2 : 3]);
}

std::uint64_t messages_of(const TrappedCall& call) {
  return std::min<std::uint64_t>(static_cast<std::uint32_t>(call.arguments[2]), kMostMessages);
}

std::uint64_t header_at(const TrappedCall& call, std::uint64_t index) {
  return call.arguments[1] + index * sizeof(mmsghdr);
}

bool write_length(const TrappedCall& call, std::uint64_t index, std::int64_t bytes) {
  const auto length = static_cast<std::uint32_t>(bytes);
  return write_memory(call.thread, header_at(call, index) + offsetof(mmsghdr, msg_len), &length,
                      sizeof length)
      .has_value();
}

std::optional<std::int64_t> read_length(const TrappedCall& call, std::uint64_t index) {
  const std::uint64_t at = header_at(call, index) + offsetof(mmsghdr, msg_len);
  const auto length = read_value<std::uint32_t>(call.thread, at);
  return length ? std::optional<std::int64_t>(*length) : std::nullopt;
}

void MessageTurn::add(std::size_t bytes) {
  ++messages_;
  bytes_ += bytes;
  context_.work += 1 + bytes / kWorkBytes;
}

bool MessageTurn::over() const {
  return messages_ >= limits::kTurnMessages || bytes_ >= limits::kTurnMessageBytes;
}

std::expected<MessageParts, int> read_message_parts(pid_t thread, std::uint64_t header) {
  const auto message = read_value<msghdr>(thread, header);
  if (!message) return std::unexpected(message.error());
  if (message->msg_iovlen > IOV_MAX) return std::unexpected(EMSGSIZE);
  MessageParts parts;
  parts.name = number_of(message->msg_name);
  parts.name_size = parts.name == 0 ? 0 : message->msg_namelen;
  if (static_cast<std::int32_t>(parts.name_size) < 0) return std::unexpected(EINVAL);
  parts.name_size = std::min<std::uint32_t>(parts.name_size, sizeof(sockaddr_storage));
  parts.pieces.resize(message->msg_iovlen);
  const auto copied = read_memory(thread, number_of(message->msg_iov), parts.pieces.data(),
                                  parts.pieces.size() * sizeof(iovec));
  if (!copied) return std::unexpected(copied.error());
  for (const iovec& piece : parts.pieces) {
    if (piece.iov_len > INT_MAX) return std::unexpected(EINVAL);
    parts.bytes += piece.iov_len;
  }
  parts.control = number_of(message->msg_control);
  parts.control_bytes = parts.control == 0 ? 0 : message->msg_controllen;
  return parts;
}

std::expected<MessageParts, int> read_sent_parts(pid_t thread, std::uint64_t header) {
  auto parts = read_message_parts(thread, header);
  if (parts && parts->name_size == 0) parts->name = 0;
  return parts;
}

MessageParts parts_of_buffer(std::uint64_t buffer, std::uint64_t size) {
  const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(size, INT_MAX));
  MessageParts parts;
  parts.pieces.push_back({.iov_base = pointer_to(buffer), .iov_len = bytes});
  parts.bytes = bytes;
  return parts;
}

std::uint64_t digest_of(std::string_view payload) {
  constexpr std::hash<std::string_view> kHash;
  constexpr std::size_t kEnd = 512;  // bytes: messages that differ do so where they are numbered
  std::uint64_t sum = kHash(payload.substr(0, kEnd));
  sum = sum * 31 + kHash(payload.substr(payload.size() - std::min(payload.size(), kEnd)));
  return sum * 31 + payload.size();
}

std::uint64_t OutgoingMessage::digest() const {
  constexpr std::hash<std::string_view> kHash;
  const std::string_view named(reinterpret_cast<const char*>(&name), name_size);
  return digest_of(payload) * 31 + kHash(named);
}

std::expected<void, int> copy_message(pid_t thread, const MessageParts& parts,
                                      OutgoingMessage& into) {
  if (parts.bytes > kMostDatagramBytes) return std::unexpected(EMSGSIZE);
  if (parts.control_bytes > limits::kDatagramControl) return std::unexpected(ENOBUFS);
  if (parts.name_size > sizeof into.name) return std::unexpected(EINVAL);
  into.payload.resize(parts.bytes);
  into.control.resize(parts.control_bytes);
  into.has_name = parts.name != 0;
  into.name = {};
  into.name_size = parts.name_size;
  if (auto done = gather_memory(thread, parts.pieces, into.payload.data(), parts.bytes); !done) {
    return done;
  }
  if (auto done = read_memory(thread, parts.name, &into.name, parts.name_size); !done) return done;
  return read_memory(thread, parts.control, into.control.data(), parts.control_bytes);
}

bool drop_packet_info(std::string& control) {
  std::string kept;
  std::size_t at = 0;
  bool parses = true;
  while (control.size() - at >= sizeof(cmsghdr)) {
    cmsghdr header;
    std::memcpy(&header, control.data() + at, sizeof header);
    parses = header.cmsg_len >= sizeof header && header.cmsg_len <= control.size() - at;
    if (!parses) break;
    const std::size_t whole = std::min(CMSG_ALIGN(header.cmsg_len), control.size() - at);
    if (!is_packet_info(header)) kept.append(control, at, whole);
    at += whole;
  }
  control = std::move(kept);
  return parses;
}

msghdr* IncomingMessage::prepare(const MessageParts& parts) {
  control.resize(std::min(parts.control_bytes, limits::kDatagramControl));
  piece = {.iov_base = payload.data(), .iov_len = std::min(payload.size(), parts.bytes)};
  header = {};
  header.msg_name = &name;
  header.msg_namelen = sizeof name;
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  return &header;
}

int write_payload(pid_t thread, const MessageParts& parts, const IncomingMessage& message,
                  std::size_t received) {
  const std::size_t bytes = std::min(received, message.piece.iov_len);  // MSG_TRUNC yields more
  const auto done =
      scatter_memory(thread, first_pieces(parts, bytes), message.payload.data(), bytes);
  return done ? 0 : done.error();
}

int read_payload(pid_t thread, const MessageParts& parts, IncomingMessage& into,
                 std::size_t received) {
  const std::size_t bytes = std::min({received, parts.bytes, into.payload.size()});
  into.piece = {.iov_base = into.payload.data(), .iov_len = bytes};
  const auto done = gather_memory(thread, first_pieces(parts, bytes), into.payload.data(), bytes);
  return done ? 0 : done.error();
}

int write_header(const TrappedSocket& socket, pid_t thread, std::uint64_t header,
                 const MessageParts& parts, const IncomingMessage& message,
                 const Endpoint* source) {
  const auto put = [&](std::size_t offset, const auto& value) {
    return write_memory(thread, header + offset, &value, sizeof value).has_value();
  };
  if (parts.name != 0) {
    std::uint32_t name_size = 0;
    if (source != nullptr) {
      const SocketAddress shown(*source, socket.family());
      name_size = shown.size();
      const auto fits = std::min<std::size_t>(name_size, parts.name_size);
      if (!write_memory(thread, parts.name, shown.get(), fits)) return EFAULT;
    }
    if (!put(offsetof(msghdr, msg_namelen), name_size)) return EFAULT;
  }
  const std::size_t control = message.header.msg_controllen;
  if (!write_memory(thread, parts.control, message.control.data(), control)) return EFAULT;
  const bool done = put(offsetof(msghdr, msg_controllen), control) &&
                    put(offsetof(msghdr, msg_flags), message.header.msg_flags);
  return done ? 0 : EFAULT;
}

}  // namespace shunt
