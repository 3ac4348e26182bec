// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_datagrams.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/counters.h"
#include "net/socket.h"
#include "unit/capture/fake_calls.h"
#include "unit/support/loop_thread.h"

namespace shunt {
namespace {

using std::chrono::milliseconds;

constexpr auto kPatience = std::chrono::seconds(10);

Endpoint endpoint(const char* text) { return Endpoint::parse(text).value_or(Endpoint{}); }

/// A blocking socket of the program's, unlike shunt's own.
UniqueFd program_socket(int domain = AF_INET, int flags = 0) {
  return UniqueFd(::socket(domain, SOCK_DGRAM | SOCK_CLOEXEC | flags, 0));
}

void disconnect(int fd) {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  ASSERT_EQ(::connect(fd, &none, sizeof none), 0);
}

/// A message with one control.
template <class T>
struct Control {
  Control(int level, int type, const T& value) {
    header()->cmsg_len = CMSG_LEN(sizeof value);
    header()->cmsg_level = level;
    header()->cmsg_type = type;
    std::memcpy(CMSG_DATA(header()), &value, sizeof value);
  }
  cmsghdr* header() { return reinterpret_cast<cmsghdr*>(room.data()); }
  msghdr message(iovec& piece) {
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = room.data();
    message.msg_controllen = room.size();
    return message;
  }
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(T))> room{};
};

constexpr rlim_t kFilesForReceives = limits::kReceivesWatched + 1'000;

/// What is under test runs on a loop's thread; the program is the test's.
class TrappedDatagramsTest : public testing::Test {
 protected:
  template <class Work>
  auto on_loop(Work work) {
    const auto done = std::make_shared<std::promise<decltype(work())>>();
    thread_.loop().post([&work, done] { done->set_value(work()); });
    return done->get_future().get();
  }

  static void SetUpTestSuite() {  // a loop is as large as the limit is when it is made
    rlimit open_files{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &open_files), 0);
    open_files.rlim_cur =
        std::min(open_files.rlim_max, std::max<rlim_t>(open_files.rlim_cur, kFilesForReceives));
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &open_files), 0);
  }
  void SetUp() override {
    auto listener = stand_ins_->listen();
    ASSERT_TRUE(listener) << listener.error().text();
    listener_ = *std::move(listener);
    context_.worker.loop = &thread_.loop();
    context_.worker.run = [this](Task<> task) { spawn(counted(std::move(task))); };
  }
  void TearDown() override {
    on_loop([&] { return thread_.loop().cancel_all(), true; });
    while (on_loop([&] { return tasks_; }) != 0) {
    }
  }
  Task<> counted(Task<> task) {
    ++tasks_;
    co_await task;
    --tasks_;
  }

  void connect(const UniqueFd& socket, const Endpoint& to) {
    ASSERT_EQ(try_connect(socket, to), 0);
  }
  /// Yields 0 or minus the errno.
  std::int64_t try_connect(const UniqueFd& socket, const Endpoint& to) {
    const auto call = calls_.make(SYS_connect, socket.get());
    const auto copy = TrappedSocket::of(UniqueFd(::dup(socket.get())));
    return on_loop([&] { return datagrams_.connect(call, copy, to).value; });
  }

  /// The answer to a sendto(), sendmsg() or sendmmsg(); nothing: it has to wait.
  std::optional<std::int64_t> send(const TrappedCall& call) {
    auto copy = TrappedSocket::of(UniqueFd(::dup(static_cast<int>(call.arguments[0]))));
    return on_loop([&] {
      (void)give_answer(calls_, call.id, datagrams_.send(call, std::move(copy)));
      return calls_.answer(call);
    });
  }

  /// The same of one that receives.
  std::optional<std::int64_t> receive(const TrappedCall& call) {
    return on_loop([&] {
      (void)give_answer(calls_, call.id, datagrams_.receive(call));
      return calls_.answer(call);
    });
  }

  TrappedCall recvfrom_call(const UniqueFd& socket, int flags = 0) {
    source_size_ = sizeof source_;
    return calls_.make(SYS_recvfrom, socket.get(), buffer_.data(), buffer_.size(), flags, &source_,
                       &source_size_);
  }

  /// What has arrived at the stand-ins by now; "none" where there is nothing.
  std::string arrived() {
    std::array<char, 256> bytes{};
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const auto got = ::recvfrom(listener_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT,
                                reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) return "none";
    sender_ = Endpoint::from(from).value_or(Endpoint{});
    return {bytes.data(), static_cast<std::size_t>(got)};
  }

  /// From the stand-in that the socket is connected to, as proxy/serve_udp answers.
  void answer_to(const UniqueFd& socket, std::string text) {
    const auto to = local_endpoint(socket.get());
    const auto from = peer_endpoint(socket.get());
    ASSERT_TRUE(to && from);
    const SocketAddress address(*to);
    Control<in_pktinfo> control(
        SOL_IP, IP_PKTINFO, {.ipi_ifindex = 0, .ipi_spec_dst = from->address.v4(), .ipi_addr = {}});
    iovec piece{.iov_base = text.data(), .iov_len = text.size()};
    msghdr message = control.message(piece);
    message.msg_name = const_cast<sockaddr*>(address.get());
    message.msg_namelen = address.size();
    ASSERT_EQ(::sendmsg(listener_.get(), &message, 0), text.size());
  }

  bool is_answered(const TrappedCall& call) {
    const auto end = Clock::now() + kPatience;
    while (!calls_.answer(call) && Clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
    return calls_.answer(call).has_value();
  }

  const Endpoint far_ = endpoint("203.0.113.1:53");
  test::LoopThread thread_;
  std::size_t tasks_ = 0;  // that wait
  test::FakeCalls calls_;
  TrappedProcesses owners_;
  CallContext context_{.calls = calls_, .owners = owners_};
  std::shared_ptr<StandIns> stand_ins_ = std::make_shared<StandIns>(CaptureMethod::seccomp);
  Courses courses_{{}, true};
  TrappedDatagrams datagrams_{context_, stand_ins_, courses_};
  UniqueFd listener_;
  Endpoint sender_;  // of what arrived() yielded
  std::array<char, 64> buffer_{};
  sockaddr_storage source_{};
  socklen_t source_size_ = 0;
};

TEST_F(TrappedDatagramsTest, a_source_is_shown_as_the_destination) {
  const auto socket = program_socket();
  connect(socket, far_);
  ASSERT_EQ(::send(socket.get(), "question", 8, 0), 8);
  EXPECT_EQ(arrived(), "question");
  answer_to(socket, "answer");
  EXPECT_EQ(receive(recvfrom_call(socket)), 6);
  EXPECT_EQ(std::string(buffer_.data(), 6), "answer");
  EXPECT_EQ(source_size_, sizeof(sockaddr_in));
  EXPECT_EQ(Endpoint::from(source_), far_);
}

TEST_F(TrappedDatagramsTest, shutting_down_ends_a_receive_that_waits) {
  const auto socket = program_socket();
  connect(socket, far_);
  const auto call = recvfrom_call(socket);
  EXPECT_EQ(receive(call), std::nullopt);
  ASSERT_EQ(::shutdown(socket.get(), SHUT_RD), 0);
  ASSERT_TRUE(is_answered(call));
  EXPECT_EQ(calls_.answer(call), 0);
  EXPECT_EQ(source_size_, 0U);
  const auto after = recvfrom_call(socket);
  (void)receive(after);
  ASSERT_TRUE(is_answered(after));
  EXPECT_EQ(calls_.answer(after), 0);
  EXPECT_EQ(receive(recvfrom_call(socket, MSG_DONTWAIT)), -EAGAIN);  // as the kernel says it
}

TEST_F(TrappedDatagramsTest, shutting_down_ends_a_receive_of_a_message) {
  const auto socket = program_socket();
  connect(socket, far_);
  iovec piece{.iov_base = buffer_.data(), .iov_len = buffer_.size()};
  mmsghdr messages{};
  messages.msg_hdr = {.msg_name = &source_,
                      .msg_namelen = sizeof source_,
                      .msg_iov = &piece,
                      .msg_iovlen = 1,
                      .msg_control = nullptr,
                      .msg_controllen = 0,
                      .msg_flags = -1};
  const auto one = calls_.make(SYS_recvmsg, socket.get(), &messages.msg_hdr, 0);
  EXPECT_EQ(receive(one), std::nullopt);
  ASSERT_EQ(::shutdown(socket.get(), SHUT_RD), 0);
  ASSERT_TRUE(is_answered(one));
  EXPECT_EQ(calls_.answer(one), 0);
  EXPECT_EQ(messages.msg_hdr.msg_namelen, 0U);
  EXPECT_EQ(messages.msg_hdr.msg_flags, 0);
  messages.msg_len = 99;
  const auto many = calls_.make(SYS_recvmmsg, socket.get(), &messages, 1, 0, 0);
  (void)receive(many);
  ASSERT_TRUE(is_answered(many));
  EXPECT_EQ(calls_.answer(many), 1);
  EXPECT_EQ(messages.msg_len, 0U);
}

TEST_F(TrappedDatagramsTest, a_receive_that_comes_again_keeps_its_deadline) {
  const auto socket = program_socket();
  const timeval limit{.tv_sec = 0, .tv_usec = 600'000};
  ASSERT_EQ(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
  connect(socket, far_);
  const auto begun = Clock::now();
  auto call = recvfrom_call(socket);
  ASSERT_EQ(receive(call), std::nullopt);
  for (int signal = 0; signal < 4; ++signal) {
    std::this_thread::sleep_for(milliseconds(100));  // the signals' times
    call = calls_.make_again(call);
    ASSERT_EQ(receive(call), std::nullopt);
  }
  ASSERT_TRUE(is_answered(call));
  EXPECT_EQ(calls_.answer(call), -EAGAIN);
  EXPECT_GE(Clock::now() - begun, milliseconds(590));
  EXPECT_LT(Clock::now() - begun, milliseconds(950));  // begun anew it would be a second
}

TEST_F(TrappedDatagramsTest, receives_that_were_left_do_not_pile_up) {
  const auto socket = program_socket();
  connect(socket, far_);
  auto call = recvfrom_call(socket);
  ASSERT_EQ(receive(call), std::nullopt);
  for (int signal = 0; signal < 5'000; ++signal) {
    call = calls_.make_again(call);
    ASSERT_EQ(receive(call), std::nullopt);
  }
  EXPECT_EQ(on_loop([&] { return context_.repeated.waits(); }), 1U);
  // It came while nobody waited; the event is used up.
  calls_.leave(call);
  answer_to(socket, "late");
  on_loop([] { return true; });
  call = calls_.make_again(call);
  (void)receive(call);
  ASSERT_TRUE(is_answered(call));
  EXPECT_EQ(calls_.answer(call), 4);
}

TEST_F(TrappedDatagramsTest, more_receives_than_are_watched_wait_all_the_same) {
  rlimit open_files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &open_files), 0);
  if (open_files.rlim_cur < kFilesForReceives) {
    GTEST_SKIP() << "needs a limit of " << kFilesForReceives << " open files";
  }
  const auto busy = program_socket();
  connect(busy, far_);
  for (std::size_t i = 0; i < limits::kReceivesWatched; ++i) {
    ASSERT_EQ(receive(recvfrom_call(busy)), std::nullopt) << i;
  }
  const auto socket = program_socket();
  connect(socket, far_);
  const auto before = shunt::counted(Counter::udp_receives_unwatched);
  const auto call = recvfrom_call(socket);
  EXPECT_EQ(receive(call), std::nullopt);
  EXPECT_EQ(shunt::counted(Counter::udp_receives_unwatched), before + 1);
  answer_to(socket, "hello");
  EXPECT_TRUE(is_answered(call));
  EXPECT_EQ(calls_.answer(call), 5);
}

TEST_F(TrappedDatagramsTest, a_datagram_whose_receiver_was_called_away_is_not_lost) {
  const auto socket = program_socket();
  connect(socket, far_);
  answer_to(socket, "answer");
  const auto call = recvfrom_call(socket);
  calls_.leave_unseen(call);
  EXPECT_EQ(receive(call), std::nullopt);
  EXPECT_EQ(receive(calls_.make_again(call)), 6);
  EXPECT_EQ(std::string(buffer_.data(), 6), "answer");
}

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
  on_loop([&] {
    datagrams_.leave_stand_in(TrappedSocket::of(UniqueFd(::dup(socket.get()))));
    return true;
  });
  EXPECT_EQ(::connect(socket.get(), own.get(), own.size()), 0);
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

TEST_F(TrappedDatagramsTest, receives_of_other_sockets_run_as_they_are) {
  const auto socket = program_socket();
  connect(socket, far_);
  const auto other = program_socket();
  const auto of_other = recvfrom_call(other);
  EXPECT_EQ(receive(of_other), std::nullopt);
  EXPECT_TRUE(calls_.was_let_run(of_other));
  auto unknown = recvfrom_call(other);  // as of one whose process lets nobody look into it
  unknown.thread = 1;
  unknown.arguments[0] = 9'999;
  EXPECT_EQ(receive(unknown), std::nullopt);
  EXPECT_TRUE(calls_.was_let_run(unknown));
}

TEST_F(TrappedDatagramsTest, errors_that_are_asked_for_are_not_waited_for) {
  const auto socket = program_socket();
  connect(socket, far_);
  EXPECT_EQ(receive(recvfrom_call(socket, MSG_ERRQUEUE)), -EAGAIN);
}

}  // namespace
}  // namespace shunt
