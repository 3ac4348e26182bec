// SPDX-License-Identifier: GPL-2.0-only
#include "net/shared_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <utility>
#include <vector>

#include "base/counters.h"
#include "base/thread.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr int kLingerS = 3;

struct Pair {
  UniqueFd ours;
  UniqueFd peer;  ///< reads nothing
};

Pair make_pair() {
  Pair pair;
  auto listener = make_socket(Family::ipv4, SocketType::stream).value_or(UniqueFd());
  (void)bind_to(listener.get(), {.address = Address::loopback(Family::ipv4), .port = 0});
  (void)::listen(listener.get(), 1);
  pair.ours = make_socket(Family::ipv4, SocketType::stream).value_or(UniqueFd());
  const SocketAddress address(local_endpoint(listener.get()).value_or(Endpoint{}));
  (void)::connect(pair.ours.get(), address.get(), address.size());
  pollfd waiting{.fd = listener.get(), .events = POLLIN, .revents = 0};
  ::poll(&waiting, 1, 5000);
  pair.peer = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return pair;
}

/// So that there is always something left that the peer has not taken.
void fill(int fd) {
  std::vector<char> zeros(1 << 20);
  pollfd writable{.fd = fd, .events = POLLOUT, .revents = 0};
  while (::poll(&writable, 1, 100) > 0) (void)::send(fd, zeros.data(), zeros.size(), MSG_DONTWAIT);
  const linger value{.l_onoff = 1, .l_linger = kLingerS};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}

TEST(SharedFd, closes_what_lingers_without_waiting) {
  Pair pair = make_pair();
  fill(pair.ours.get());
  const int number = pair.ours.get();
  const auto started = std::chrono::steady_clock::now();
  SharedFd(std::move(pair.ours)).reset();
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(1));
  while (::fcntl(number, F_GETFD) >= 0 &&
         std::chrono::steady_clock::now() - started < std::chrono::seconds(2)) {
    ::poll(nullptr, 0, 1);
  }
  EXPECT_LT(::fcntl(number, F_GETFD), 0);  // closed before the time that it would linger for
  // All of it arrives, and then the end.
  std::vector<char> buffer(1 << 20);
  ssize_t got = 0;
  do {
    got = ::recv(pair.peer.get(), buffer.data(), buffer.size(), 0);
  } while (got > 0);
  EXPECT_EQ(got, 0);
}

/// In a process of its own, which can have no more threads.
int close_without_threads(UniqueFd fd) {
  constexpr rlimit kNone{};
  constexpr uid_t kNobody = 65'534;  // root may have more than its limit
  if (::getuid() == 0 && ::setuid(kNobody) != 0) return 2;
  if (::setrlimit(RLIMIT_NPROC, &kNone) != 0) return 3;
  if (start_thread([] {})) return 4;
  const int number = fd.get();
  const auto started = std::chrono::steady_clock::now();
  SharedFd(std::move(fd)).reset();
  const bool soon = std::chrono::steady_clock::now() - started < std::chrono::seconds(1);
  return soon && ::fcntl(number, F_GETFD) < 0 && counted(Counter::lingers_cut) == 1 ? 0 : 1;
}

TEST(SharedFd, closes_what_lingers_without_waiting_where_there_are_no_threads) {
  Pair pair = make_pair();
  fill(pair.ours.get());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(close_without_threads(UniqueFd(pair.ours.release())));
  pair.ours.reset();  // which waits no more than the child: it is not the last
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(SharedFd, closes_everything_else_at_once) {
  Pair pair = make_pair();
  const int number = pair.ours.get();
  SharedFd fd(std::move(pair.ours));
  SharedFd other;
  other = std::move(fd);
  EXPECT_EQ(other.get(), number);
  other.reset();
  EXPECT_FALSE(other.valid());
  EXPECT_LT(::fcntl(number, F_GETFD), 0);
}

}  // namespace
}  // namespace shunt
