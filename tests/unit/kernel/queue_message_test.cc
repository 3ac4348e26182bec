// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/queue_message.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include <cstdint>
#include <string>

namespace shunt {
namespace {

template <class T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string padded(std::string bytes) {
  bytes.resize((bytes.size() + 3) & ~std::size_t{3});
  return bytes;
}

std::string attribute(std::uint16_t type, const std::string& value) {
  const auto length = static_cast<std::uint16_t>(sizeof(nlattr) + value.size());
  return bytes_of(nlattr{.nla_len = length, .nla_type = type}) + value;
}

std::string packet_header(std::uint32_t id) {
  nfqnl_msg_packet_hdr header{};
  header.packet_id = htonl(id);
  header.hook = 3;
  return padded(attribute(NFQA_PACKET_HDR, {reinterpret_cast<const char*>(&header), 7}));
}

std::string message(const std::string& attributes, std::uint8_t type = NFQNL_MSG_PACKET) {
  const std::string body =
      bytes_of(nfgenmsg{.nfgen_family = 2, .version = 0, .res_id = 0}) + attributes;
  nlmsghdr header{};
  header.nlmsg_len = static_cast<std::uint32_t>(sizeof header + body.size());
  header.nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_QUEUE << 8 | type);
  return bytes_of(header) + body;
}

TEST(QueueMessages, tells_what_is_known_of_a_packet) {
  const std::string received = message(
      packet_header(7) + attribute(NFQA_MARK, bytes_of(htonl(0x12345678U))) +
      attribute(NFQA_IFINDEX_INDEV, bytes_of(htonl(5U))) + attribute(NFQA_PAYLOAD, "packet"));
  QueueMessages messages(received);
  const auto packet = messages.next();
  ASSERT_TRUE(packet.has_value());
  EXPECT_EQ(packet->id, 7U);
  EXPECT_EQ(packet->hook, 3);
  EXPECT_EQ(packet->mark, 0x12345678U);
  EXPECT_EQ(packet->in_interface, 5U);
  EXPECT_EQ(packet->bytes, "packet");
  EXPECT_FALSE(messages.next().has_value());
}

TEST(QueueMessages, without_a_mark_or_an_interface_are_zero) {
  const std::string received = message(packet_header(1));
  const auto packet = QueueMessages(received).next();
  ASSERT_TRUE(packet.has_value());
  EXPECT_EQ(packet->mark, 0U);
  EXPECT_EQ(packet->in_interface, 0U);
  EXPECT_EQ(packet->bytes, "");
}

TEST(QueueMessages, come_one_after_the_other_whatever_their_length) {
  const std::string received = padded(message(packet_header(1) + attribute(NFQA_PAYLOAD, "odd"))) +
                               message(packet_header(2) + attribute(NFQA_PAYLOAD, "s"));
  QueueMessages messages(received);
  EXPECT_EQ(messages.next()->id, 1U);
  const auto second = messages.next();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->id, 2U);
  EXPECT_EQ(second->bytes, "s");
}

TEST(QueueMessages, passes_over_what_is_no_packet) {
  const std::string received = padded(message(packet_header(1), NFQNL_MSG_CONFIG)) +
                               padded(message("")) + message(packet_header(3));
  EXPECT_EQ(QueueMessages(received).next()->id, 3U);
}

TEST(QueueMessages, of_every_length_cut_short_yield_no_more_than_the_whole) {
  const std::string whole = message(packet_header(9) + attribute(NFQA_PAYLOAD, "packet"));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(QueueMessages(std::string_view(whole).substr(0, size)).next().has_value()) << size;
  }
}

TEST(QueueMessages, ends_where_a_length_leads_nowhere) {
  std::string received = message(packet_header(1));
  const std::uint32_t nothing = 0;
  received.replace(0, sizeof nothing, bytes_of(nothing));
  EXPECT_FALSE(QueueMessages(received).next().has_value());
}

}  // namespace
}  // namespace shunt
