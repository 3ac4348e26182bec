// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/queue_message.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>

namespace shunt {
namespace {

constexpr std::uint16_t kPacket = (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET;

template <class T>
std::optional<T> value_of(std::string_view bytes) {
  T value{};
  if (bytes.size() < sizeof value) return std::nullopt;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// A header that holds its own length, and what belongs to it; lengths are rounded up to four bytes
/// between one and the next, but need not be at the end.
template <class Header, class Length>
std::optional<std::string_view> take(std::string_view& rest, Header& header, Length length_of) {
  const auto found = value_of<Header>(rest);
  if (!found) return std::nullopt;
  const std::size_t length = length_of(*found);
  if (length < sizeof(Header) || length > rest.size()) return std::nullopt;
  header = *found;
  const std::string_view body = rest.substr(sizeof(Header), length - sizeof(Header));
  rest.remove_prefix(std::min<std::size_t>((length + 3) & ~std::size_t{3}, rest.size()));
  return body;
}

void note(QueuedPacket& packet, bool& has_id, std::uint16_t type, std::string_view value) {
  switch (type) {
    case NFQA_PACKET_HDR:
      if (const auto header = value_of<nfqnl_msg_packet_hdr>(value)) {
        packet.id = ntohl(header->packet_id);
        packet.hook = header->hook;
        has_id = true;
      }
      break;
    case NFQA_MARK: packet.mark = ntohl(value_of<std::uint32_t>(value).value_or(0)); break;
    case NFQA_IFINDEX_INDEV:
      packet.in_interface = ntohl(value_of<std::uint32_t>(value).value_or(0));
      break;
    case NFQA_PAYLOAD: packet.bytes = value; break;
    default: break;
  }
}

std::optional<QueuedPacket> packet_of(std::string_view body) {
  if (body.size() < sizeof(nfgenmsg)) return std::nullopt;
  body.remove_prefix(sizeof(nfgenmsg));
  QueuedPacket packet;
  bool has_id = false;
  nlattr attribute{};
  while (const auto value =
             take(body, attribute, [](const nlattr& header) { return header.nla_len; })) {
    note(packet, has_id, attribute.nla_type & NLA_TYPE_MASK, *value);
  }
  return has_id ? std::optional(packet) : std::nullopt;
}

}  // namespace

std::optional<QueuedPacket> QueueMessages::next() {
  nlmsghdr header{};
  while (const auto body =
             take(rest_, header, [](const nlmsghdr& found) { return found.nlmsg_len; })) {
    if (header.nlmsg_type != kPacket) continue;
    if (const auto packet = packet_of(*body)) return packet;
  }
  return std::nullopt;
}

}  // namespace shunt
