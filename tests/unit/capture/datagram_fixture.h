// SPDX-License-Identifier: GPL-2.0-only
// A program's datagrams, as trapped calls, and the listener that its stand-ins lead to.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "capture/trapped_datagrams.h"
#include "net/socket.h"
#include "unit/capture/fake_calls.h"
#include "unit/support/loop_thread.h"

namespace shunt::test {

using std::chrono::milliseconds;

inline constexpr auto kPatience = std::chrono::seconds(10);

inline Endpoint endpoint(const char* text) { return Endpoint::parse(text).value_or(Endpoint{}); }

/// A blocking socket of the program's, unlike shunt's own.
inline UniqueFd program_socket(int domain = AF_INET, int flags = 0) {
  return UniqueFd(::socket(domain, SOCK_DGRAM | SOCK_CLOEXEC | flags, 0));
}

inline void disconnect(int fd) {
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

inline constexpr rlim_t kFilesForReceives = limits::kReceivesWatched + 1'000;

/// What is under test runs on a loop's thread; the program is the test's.
class DatagramFixture : public testing::Test {
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
  LoopThread thread_;
  std::size_t tasks_ = 0;  // that wait
  FakeCalls calls_;
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

}  // namespace shunt::test
