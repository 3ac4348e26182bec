// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_message.h"

#include <limits.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

namespace shunt {
namespace {

constexpr std::size_t kMostControlBytes = 16 * 1024;  // the kernel's default is 20 KiB or more

std::uint64_t number_of(const void* address) { return reinterpret_cast<std::uintptr_t>(address); }

void* pointer_to(std::uint64_t address) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it is another process's
  return reinterpret_cast<void*>(address);
}

bool is_packet_info(const cmsghdr& header) {
  return (header.cmsg_level == SOL_IP && header.cmsg_type == IP_PKTINFO) ||
         (header.cmsg_level == SOL_IPV6 && header.cmsg_type == IPV6_PKTINFO);
}

}  // namespace

std::expected<MessageParts, int> read_message_parts(pid_t thread, std::uint64_t header) {
  const auto message = read_value<msghdr>(thread, header);
  if (!message) return std::unexpected(message.error());
  if (message->msg_iovlen > IOV_MAX) return std::unexpected(EMSGSIZE);
  MessageParts parts;
  parts.name = number_of(message->msg_name);
  parts.name_size = parts.name == 0 ? 0 : message->msg_namelen;
  if (static_cast<std::int32_t>(parts.name_size) < 0) return std::unexpected(EINVAL);
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

MessageParts parts_of_buffer(std::uint64_t buffer, std::uint64_t size) {
  const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(size, INT_MAX));
  MessageParts parts;
  parts.pieces.push_back({.iov_base = pointer_to(buffer), .iov_len = bytes});
  parts.bytes = bytes;
  return parts;
}

std::expected<void, int> copy_message(pid_t thread, const MessageParts& parts,
                                      OutgoingMessage& into) {
  if (parts.bytes > kMostDatagramBytes) return std::unexpected(EMSGSIZE);
  if (parts.control_bytes > kMostControlBytes) return std::unexpected(ENOBUFS);
  if (parts.name_size > sizeof into.name) return std::unexpected(EINVAL);
  into.payload.resize(parts.bytes);
  into.control.resize(parts.control_bytes);
  into.name = {};
  into.name_size = parts.name_size;
  if (auto done = gather_memory(thread, parts.pieces, into.payload.data(), parts.bytes); !done) {
    return done;
  }
  if (auto done = read_memory(thread, parts.name, &into.name, parts.name_size); !done) return done;
  return read_memory(thread, parts.control, into.control.data(), parts.control_bytes);
}

void drop_packet_info(std::string& control) {
  std::string kept;
  std::size_t at = 0;
  while (control.size() - at >= sizeof(cmsghdr)) {
    cmsghdr header;
    std::memcpy(&header, control.data() + at, sizeof header);
    if (header.cmsg_len < sizeof header || header.cmsg_len > control.size() - at) break;
    const std::size_t whole = std::min(CMSG_ALIGN(header.cmsg_len), control.size() - at);
    if (!is_packet_info(header)) kept.append(control, at, whole);
    at += whole;
  }
  control = std::move(kept);
}

msghdr* IncomingMessage::prepare(const MessageParts& parts) {
  control.resize(std::min(parts.control_bytes, kMostControlBytes));
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
  std::vector<iovec> pieces;
  for (std::size_t left = bytes; const iovec& piece : parts.pieces) {
    if (left == 0) break;
    const std::size_t taken = std::min(left, piece.iov_len);
    pieces.push_back({.iov_base = piece.iov_base, .iov_len = taken});
    left -= taken;
  }
  const auto done = scatter_memory(thread, pieces, message.payload.data(), bytes);
  return done ? 0 : done.error();
}

int write_header(const TrappedSocket& socket, pid_t thread, std::uint64_t header,
                 const MessageParts& parts, const IncomingMessage& message,
                 const Endpoint* source) {
  const auto put = [&](std::size_t offset, const auto& value) {
    return write_memory(thread, header + offset, &value, sizeof value).has_value();
  };
  std::uint32_t name_size = 0;
  if (source != nullptr) {
    const SocketAddress shown(*source, socket.family());
    name_size = shown.size();
    const auto fits = std::min<std::size_t>(name_size, parts.name_size);
    if (!write_memory(thread, parts.name, shown.get(), fits)) return EFAULT;
  }
  const std::size_t control = message.header.msg_controllen;
  if (!write_memory(thread, parts.control, message.control.data(), control)) return EFAULT;
  const bool done = put(offsetof(msghdr, msg_namelen), name_size) &&
                    put(offsetof(msghdr, msg_controllen), control) &&
                    put(offsetof(msghdr, msg_flags), message.header.msg_flags);
  return done ? 0 : EFAULT;
}

}  // namespace shunt
