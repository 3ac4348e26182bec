// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_message.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <expected>
#include <string>

namespace shunt {
namespace {

std::uint64_t address_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

/// 0 where there is no error.
template <class T>
int error_of(const std::expected<T, int>& result) {
  return result ? 0 : result.error();
}

template <class T>
std::string control_message(int level, int type, const T& value) {
  std::string bytes(CMSG_SPACE(sizeof value), '\0');
  cmsghdr header{};
  header.cmsg_len = CMSG_LEN(sizeof value);
  header.cmsg_level = level;
  header.cmsg_type = type;
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + CMSG_LEN(0), &value, sizeof value);
  return bytes;
}

TEST(TrappedMessage, is_copied_from_a_programs_memory_and_back) {
  std::string first = "hel";
  std::string second = "lo";
  std::array<iovec, 2> pieces{{{.iov_base = first.data(), .iov_len = first.size()},
                               {.iov_base = second.data(), .iov_len = second.size()}}};
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(53);
  msghdr header{};
  header.msg_name = &name;
  header.msg_namelen = sizeof name;
  header.msg_iov = pieces.data();
  header.msg_iovlen = pieces.size();
  const auto parts = read_message_parts(::getpid(), address_of(&header));
  ASSERT_TRUE(parts) << parts.error();
  EXPECT_EQ(parts->bytes, 5U);
  OutgoingMessage message;
  ASSERT_TRUE(copy_message(::getpid(), *parts, message));
  EXPECT_EQ(message.payload, "hello");
  EXPECT_EQ(message.name_size, sizeof name);
  EXPECT_EQ(std::memcmp(&message.name, &name, sizeof name), 0);

  IncomingMessage incoming;
  (void)incoming.prepare(*parts);
  incoming.payload.replace(0, 4, "abcd");
  EXPECT_EQ(write_payload(::getpid(), *parts, incoming, 4), 0);
  EXPECT_EQ(first + second, "abcdo");
}

TEST(TrappedMessage, what_is_not_there_or_too_long_is_an_error) {
  EXPECT_EQ(error_of(read_message_parts(::getpid(), 8)), EFAULT);
  msghdr header{};
  header.msg_iovlen = 1025;
  EXPECT_EQ(error_of(read_message_parts(::getpid(), address_of(&header))), EMSGSIZE);
  OutgoingMessage message;
  EXPECT_EQ(error_of(copy_message(::getpid(), parts_of_buffer(8, 100), message)), EFAULT);
  EXPECT_EQ(error_of(copy_message(::getpid(), parts_of_buffer(8, 70'000), message)), EMSGSIZE);
}

TEST(TrappedMessage, local_addresses_are_taken_out_of_its_controls) {
  const std::string tos = control_message(SOL_IP, IP_TOS, 4);
  const std::string info = control_message(SOL_IP, IP_PKTINFO, in_pktinfo{});
  const std::string info6 = control_message(SOL_IPV6, IPV6_PKTINFO, in6_pktinfo{});
  std::string control = info + tos + info6 + tos;
  EXPECT_TRUE(drop_packet_info(control));
  EXPECT_EQ(control, tos + tos);
  control = info;
  EXPECT_TRUE(drop_packet_info(control));
  EXPECT_EQ(control, "");
}

// CMSG_OK(), include/linux/socket.h: what is too short for a header is not looked at.
TEST(TrappedMessage, a_control_that_does_not_parse_is_an_error) {
  const std::string tos = control_message(SOL_IP, IP_TOS, 4);
  for (const std::size_t length : {std::size_t{0}, sizeof(cmsghdr) - 1, tos.size() + 1}) {
    std::string control = tos + tos;
    std::memcpy(control.data() + tos.size(), &length, sizeof length);
    EXPECT_FALSE(drop_packet_info(control)) << length;
  }
  std::string control = tos + "shorter";
  EXPECT_TRUE(drop_packet_info(control));
}

TEST(TrappedMessage, a_name_is_looked_at_as_far_as_the_kernel_looks) {
  sockaddr_storage name{};
  msghdr header{};
  header.msg_name = &name;
  header.msg_namelen = 2 * sizeof name;
  const auto long_name = read_sent_parts(::getpid(), address_of(&header));
  ASSERT_TRUE(long_name);
  EXPECT_EQ(long_name->name_size, sizeof name);
  header.msg_namelen = 0;
  const auto none = read_sent_parts(::getpid(), address_of(&header));
  ASSERT_TRUE(none);
  EXPECT_EQ(none->name, 0U);
  const auto received = read_message_parts(::getpid(), address_of(&header));
  ASSERT_TRUE(received);
  EXPECT_EQ(received->name, address_of(&name));
  header.msg_namelen = static_cast<socklen_t>(-1);
  EXPECT_EQ(error_of(read_sent_parts(::getpid(), address_of(&header))), EINVAL);
  OutgoingMessage message;
  MessageParts sendto = parts_of_buffer(0, 0);
  sendto.name = address_of(&name);
  sendto.name_size = sizeof name + 1;
  EXPECT_EQ(error_of(copy_message(::getpid(), sendto, message)), EINVAL);
}

TEST(TrappedMessage, another_message_has_another_digest) {
  OutgoingMessage message;
  message.payload = std::string(2'000, 'a');
  const auto first = message.digest();
  EXPECT_EQ(message.digest(), first);
  message.payload[0] = 'b';
  const auto second = message.digest();
  EXPECT_NE(second, first);
  message.payload.back() = 'b';
  const auto third = message.digest();
  EXPECT_NE(third, second);
  message.name_size = sizeof(sockaddr_in);
  EXPECT_NE(message.digest(), third);
}

TEST(TrappedMessage, a_length_without_a_name_is_left_alone) {
  msghdr header{};
  header.msg_namelen = 99;
  header.msg_flags = -1;
  const auto parts = read_message_parts(::getpid(), address_of(&header));
  ASSERT_TRUE(parts);
  IncomingMessage incoming;
  (void)incoming.prepare(*parts);
  TrappedSocket socket;
  socket.domain = AF_INET;
  EXPECT_EQ(write_header(socket, ::getpid(), address_of(&header), *parts, incoming, nullptr), 0);
  EXPECT_EQ(header.msg_namelen, 99U);
  EXPECT_EQ(header.msg_flags, 0);
}

TEST(TrappedMessage, a_turn_ends_by_number_and_by_size) {
  struct None final : WaitingCalls {
    [[nodiscard]] bool waits(std::uint64_t /*id*/) const override { return false; }
    bool finish(std::uint64_t /*id*/, std::int64_t /*value*/) const override { return false; }
    bool fail(std::uint64_t /*id*/, int /*os_error*/) const override { return false; }
    bool let_run(std::uint64_t /*id*/) const override { return false; }
  } calls;
  TrappedProcesses owners;
  CallContext context{.calls = calls, .owners = owners};
  MessageTurn small(context);
  for (std::size_t i = 1; i < limits::kTurnMessages; ++i) small.add(1);
  EXPECT_FALSE(small.over());
  small.add(1);
  EXPECT_TRUE(small.over());
  EXPECT_EQ(context.work, limits::kTurnMessages);
  MessageTurn large(context);
  large.add(limits::kTurnMessageBytes - 1);
  EXPECT_FALSE(large.over());
  large.add(1);
  EXPECT_TRUE(large.over());
  EXPECT_GT(context.work, 2 * limits::kTurnMessages);
}

}  // namespace
}  // namespace shunt
