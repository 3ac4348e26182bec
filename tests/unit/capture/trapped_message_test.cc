// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_message.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
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
  drop_packet_info(control);
  EXPECT_EQ(control, tos + tos);
  control = info;
  drop_packet_info(control);
  EXPECT_EQ(control, "");
}

}  // namespace
}  // namespace shunt
