// SPDX-License-Identifier: GPL-2.0-only
// Connected TCP sockets on loopback, and blocking helpers with a deadline.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "net/socket.h"

namespace shunt::test {

inline constexpr int kDeadlineMs = 10'000;

struct TcpPair {
  UniqueFd near;  ///< blocking, for the test
  UniqueFd far;   ///< non-blocking, for the code under test
};

inline UniqueFd listen_on_loopback(Family family = Family::ipv4) {
  UniqueFd fd = std::move(make_socket(family, SocketType::stream)).value();
  EXPECT_TRUE(bind_to(fd.get(), {Address::loopback(family), 0}));
  EXPECT_EQ(::listen(fd.get(), 64), 0);
  return fd;
}

inline void make_blocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK); }

inline bool wait_for(int fd, short events) {
  pollfd poll{.fd = fd, .events = events, .revents = 0};
  return ::poll(&poll, 1, kDeadlineMs) == 1;
}

inline TcpPair tcp_pair() {
  const UniqueFd listener = listen_on_loopback();
  TcpPair pair;
  pair.near = std::move(make_socket(Family::ipv4, SocketType::stream)).value();
  make_blocking(pair.near.get());
  const SocketAddress address(*local_endpoint(listener.get()));
  EXPECT_EQ(::connect(pair.near.get(), address.get(), address.size()), 0);
  EXPECT_TRUE(wait_for(listener.get(), POLLIN));
  pair.far = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  EXPECT_TRUE(pair.far.valid());
  return pair;
}

inline void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ASSERT_TRUE(wait_for(fd, POLLOUT));
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) continue;
    ASSERT_GT(sent, 0);
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// Up to `size` bytes, fewer at a FIN, reset or deadline; `error` then says which (0: FIN).
inline std::string receive(int fd, std::size_t size, int* error = nullptr) {
  std::string bytes;
  char buffer[65536];
  int failed = 0;
  while (bytes.size() < size) {
    if (!wait_for(fd, POLLIN)) {
      failed = ETIMEDOUT;
      break;
    }
    const ssize_t got = ::recv(fd, buffer, std::min(sizeof buffer, size - bytes.size()), 0);
    if (got < 0) failed = errno;
    if (got <= 0) break;
    bytes.append(buffer, static_cast<std::size_t>(got));
  }
  if (error != nullptr) *error = failed;
  return bytes;
}

inline std::string receive_to_end(int fd, int* error = nullptr) {
  return receive(fd, SIZE_MAX, error);
}

}  // namespace shunt::test
