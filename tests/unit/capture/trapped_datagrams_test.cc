// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_datagrams.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/socket.h"
#include "unit/capture/datagram_fixture.h"

namespace shunt {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)

class ManyMessages {
 public:
  explicit ManyMessages(std::size_t count) : messages(count) {
    for (mmsghdr& message : messages) {
      message.msg_hdr.msg_iov = &piece;
      message.msg_hdr.msg_iovlen = 1;
    }
  }
  std::string text = "message";
  iovec piece{.iov_base = text.data(), .iov_len = text.size()};
  std::vector<mmsghdr> messages;
};

class TrappedDatagramsTest : public DatagramFixture {
 protected:
  std::int64_t connect_natively(const UniqueFd& socket, const Endpoint& to) {
    const auto call = calls_.make(SYS_connect, socket.get());
    const auto copy = TrappedSocket::of(UniqueFd(::dup(socket.get())));
    const SocketAddress address(to, copy.family());
    return on_loop([&] { return datagrams_.connect_natively(call, copy, address).value; });
  }
  /// On the loop's thread.
  void start_send(const TrappedCall& call) {
    auto copy = TrappedSocket::of(UniqueFd(::dup(static_cast<int>(call.arguments[0]))));
    (void)give_answer(calls_, call.id, datagrams_.send(call, std::move(copy)));
  }
  /// A signal calls the program away before all is sent, whose handler does `meanwhile`; then the
  /// call comes once more, before anybody has noticed.
  template <class Meanwhile>
  TrappedCall send_and_again(const TrappedCall& call, Meanwhile meanwhile) {
    return on_loop([&] {
      start_send(call);
      EXPECT_EQ(calls_.answer(call), std::nullopt);
      meanwhile();
      const auto again = calls_.make_again(call);
      start_send(again);
      return again;
    });
  }
  std::size_t all_arrived() {
    std::size_t got = 0;
    while (arrived() != "none") ++got;
    return got;
  }
};

TEST_F(TrappedDatagramsTest, what_was_sent_is_not_sent_again_for_a_signal) {
  const auto socket = program_socket();
  const SocketAddress to(far_);
  std::string text = "question";
  const auto call =
      calls_.make(SYS_sendto, socket.get(), text.data(), text.size(), 0, to.get(), to.size());
  calls_.leave_unseen(call);
  EXPECT_EQ(send(call), std::nullopt);
  EXPECT_EQ(arrived(), "question");
  EXPECT_EQ(send(calls_.make_again(call)), 8);
  EXPECT_EQ(arrived(), "none");
  // Another message in the same place is another message.
  const auto more = calls_.make_again(call);
  calls_.leave_unseen(more);
  EXPECT_EQ(send(more), std::nullopt);
  EXPECT_EQ(arrived(), "question");
  text = "QUESTION";
  EXPECT_EQ(send(calls_.make_again(more)), 8);
  EXPECT_EQ(arrived(), "QUESTION");
}

TEST_F(TrappedDatagramsTest, a_socket_that_takes_another_port_stays_a_client) {
  const auto socket = program_socket();
  connect(socket, far_);
  ASSERT_EQ(::send(socket.get(), "one", 3, 0), 3);
  ASSERT_EQ(arrived(), "one");
  EXPECT_TRUE(stand_ins_->is_client(sender_));
  const Endpoint before = sender_;
  disconnect(socket.get());
  const auto other = program_socket();  // takes the port meanwhile
  ASSERT_TRUE(bind_to(other.get(), before));
  const SocketAddress to(far_);
  EXPECT_EQ(send(calls_.make(SYS_sendto, socket.get(), "two", 3, 0, to.get(), to.size())), 3);
  ASSERT_EQ(arrived(), "two");
  EXPECT_NE(sender_, before);
  EXPECT_TRUE(stand_ins_->is_client(sender_));
}

TEST_F(TrappedDatagramsTest, a_blocking_sendmmsg_sends_all_and_a_non_blocking_one_some) {
  ManyMessages many(limits::kTurnMessages * 3 + 1);
  const auto count = many.messages.size();
  const auto blocking = program_socket();
  connect(blocking, far_);
  const auto call = calls_.make(SYS_sendmmsg, blocking.get(), many.messages.data(), count, 0);
  EXPECT_EQ(send(call), std::nullopt);  // others have their turn first
  ASSERT_TRUE(is_answered(call));
  EXPECT_EQ(calls_.answer(call), count);
  std::size_t got = 0;
  while (arrived() == "message") ++got;
  EXPECT_EQ(got, count);
  const auto other = program_socket(AF_INET, SOCK_NONBLOCK);
  connect(other, far_);
  const auto work = on_loop([&] { return context_.work; });
  EXPECT_EQ(send(calls_.make(SYS_sendmmsg, other.get(), many.messages.data(), count, 0)),
            limits::kTurnMessages);
  EXPECT_GE(on_loop([&] { return context_.work; }), work + limits::kTurnMessages);
}

TEST_F(TrappedDatagramsTest, an_interface_in_a_message_does_not_lead_astray) {
  const auto socket = program_socket();
  connect(socket, far_);
  Control<in_pktinfo> control(
      SOL_IP, IP_PKTINFO, {.ipi_ifindex = 0, .ipi_spec_dst = far_.address.v4(), .ipi_addr = {}});
  iovec piece{.iov_base = buffer_.data(), .iov_len = 4};
  const msghdr message = control.message(piece);
  ASSERT_EQ(::sendmsg(socket.get(), &message, 0), -1);  // it is no address of this machine's
  EXPECT_EQ(send(calls_.make(SYS_sendmsg, socket.get(), &message, 0)), 4);
  EXPECT_EQ(arrived().size(), 4U);
  control.header()->cmsg_len = 4;
  EXPECT_EQ(send(calls_.make(SYS_sendmsg, socket.get(), &message, 0)), -EINVAL);
}

TEST_F(TrappedDatagramsTest, a_socket_that_is_tied_to_an_interface_cannot_be_carried) {
  const auto socket = program_socket();
  const std::uint32_t index = htonl(1);
  ASSERT_EQ(::setsockopt(socket.get(), IPPROTO_IP, IP_UNICAST_IF, &index, sizeof index), 0);
  const SocketAddress to(far_);
  EXPECT_EQ(send(calls_.make(SYS_sendto, socket.get(), "x", 1, 0, to.get(), to.size())),
            -EHOSTUNREACH);
}

TEST_F(TrappedDatagramsTest, a_socket_of_ipv6_goes_to_and_fro) {
  const auto socket = program_socket(AF_INET6);
  const SocketAddress own(endpoint("[::1]:9"));
  if (!socket.valid() || ::connect(socket.get(), own.get(), own.size()) != 0) {
    GTEST_SKIP() << "needs IPv6 on loopback";
  }
  connect(socket, endpoint("[2001:db8::1]:53"));
  ASSERT_EQ(::send(socket.get(), "far", 3, 0), 3);
  EXPECT_EQ(arrived(), "far");
  EXPECT_TRUE(stand_ins_->is_client(sender_));
  ASSERT_NE(::connect(socket.get(), own.get(), own.size()), 0);  // from ::ffff:127.0.0.1
  EXPECT_EQ(connect_natively(socket, endpoint("[::1]:9")), 0);
  EXPECT_EQ(peer_endpoint(socket.get()).value_or(Endpoint{}), endpoint("[::1]:9"));
}

TEST_F(TrappedDatagramsTest, one_that_is_bound_to_ipv6_stays_where_it_is) {
  const auto socket = program_socket(AF_INET6);
  const Endpoint own = endpoint("[::1]:9");
  const SocketAddress to(own);
  if (!socket.valid() || !bind_to(socket.get(), endpoint("[::1]:0")) ||
      ::connect(socket.get(), to.get(), to.size()) != 0) {
    GTEST_SKIP() << "needs IPv6 on loopback";
  }
  EXPECT_EQ(try_connect(socket, endpoint("[2001:db8::1]:53")), -EADDRNOTAVAIL);
  EXPECT_EQ(peer_endpoint(socket.get()).value_or(Endpoint{}), own);
}

TEST_F(TrappedDatagramsTest, a_name_without_length_is_a_mistake_of_sendto_alone) {
  const auto socket = program_socket();
  connect(socket, far_);
  const SocketAddress to(far_);
  EXPECT_EQ(send(calls_.make(SYS_sendto, socket.get(), "x", 1, 0, to.get(), 0)), -EINVAL);
  iovec piece{.iov_base = buffer_.data(), .iov_len = 1};
  msghdr message{};
  message.msg_name = const_cast<sockaddr*>(to.get());
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  EXPECT_EQ(send(calls_.make(SYS_sendmsg, socket.get(), &message, 0)), 1);
  sockaddr_storage long_name{};
  std::memcpy(&long_name, to.get(), to.size());
  message.msg_name = &long_name;
  message.msg_namelen = 2 * sizeof long_name;  // the kernel looks at 128 bytes of it
  EXPECT_EQ(send(calls_.make(SYS_sendmsg, socket.get(), &message, 0)), 1);
}

TEST_F(TrappedDatagramsTest, a_sendmmsg_that_comes_again_goes_on_where_it_was) {
  ManyMessages many(limits::kTurnMessages * 3 + 1);
  const auto count = many.messages.size();
  const auto socket = program_socket();
  connect(socket, far_);
  const auto call = calls_.make(SYS_sendmmsg, socket.get(), many.messages.data(), count, 0);
  const auto again = send_and_again(call, [] {});
  ASSERT_TRUE(is_answered(again));
  EXPECT_EQ(calls_.answer(again), count);
  EXPECT_EQ(all_arrived(), count);
}

TEST_F(TrappedDatagramsTest,
       a_sendmmsg_that_nobody_takes_up_again_tells_the_next_one_how_far_it_was) {
  ManyMessages many(limits::kTurnMessages * 3 + 1);
  const auto count = many.messages.size();
  const auto socket = program_socket();
  connect(socket, far_);
  const auto call = calls_.make(SYS_sendmmsg, socket.get(), many.messages.data(), count, 0);
  on_loop([&] {
    start_send(call);
    calls_.leave(call);
    return true;
  });
  const auto end = Clock::now() + kPatience;
  while (on_loop([&] { return tasks_; }) != 0 && Clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  const std::size_t sent = all_arrived();
  EXPECT_LT(sent, count);
  EXPECT_EQ(send(calls_.make_again(call)), sent);
  EXPECT_EQ(all_arrived(), 0U);
}

TEST_F(TrappedDatagramsTest, other_messages_in_the_same_place_are_all_sent) {
  ManyMessages many(limits::kTurnMessages * 3 + 1);
  const auto count = many.messages.size();
  const auto socket = program_socket();
  connect(socket, far_);
  const auto call = calls_.make(SYS_sendmmsg, socket.get(), many.messages.data(), count, 0);
  const auto again = send_and_again(call, [&] { many.text.replace(0, 7, "MESSAGE"); });
  ASSERT_TRUE(is_answered(again));
  EXPECT_EQ(calls_.answer(again), count);
  std::size_t new_ones = 0;
  for (std::string text = arrived(); text != "none"; text = arrived()) {
    new_ones += text == "MESSAGE" ? 1 : 0;
  }
  EXPECT_EQ(new_ones, count);
}

TEST_F(TrappedDatagramsTest, a_connect_that_fails_leaves_a_socket_of_ipv6_at_its_peer) {
  const auto socket = program_socket(AF_INET6);
  const SocketAddress own(endpoint("[::1]:9"));
  if (!socket.valid() || ::connect(socket.get(), own.get(), own.size()) != 0) {
    GTEST_SKIP() << "needs IPv6 on loopback";
  }
  connect(socket, far_);
  const auto stand_in = peer_endpoint(socket.get());
  ASSERT_TRUE(stand_in);
  EXPECT_EQ(connect_natively(socket, endpoint("[fe80::1]:9")), -EINVAL);  // of no interface
  EXPECT_EQ(peer_endpoint(socket.get()).value_or(Endpoint{}), *stand_in);
  ASSERT_EQ(::send(socket.get(), "far", 3, 0), 3);
  EXPECT_EQ(arrived(), "far");
  EXPECT_TRUE(stand_ins_->is_client(sender_));
}

}  // namespace
}  // namespace shunt
