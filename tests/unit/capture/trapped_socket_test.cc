// SPDX-License-Identifier: GPL-2.0-only
#include "capture/trapped_socket.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/socket.h"
#include "unit/capture/fake_calls.h"

namespace shunt {
namespace {

sockaddr_storage storage_of(const char* text) {
  sockaddr_storage storage{};
  const SocketAddress address(Endpoint::parse(text).value_or(Endpoint{}));
  std::memcpy(&storage, address.get(), address.size());
  return storage;
}

/// 0 where there is no error.
int said(int domain, int type, const sockaddr_storage& address, std::uint32_t size) {
  const auto socket = TrappedSocket::of(UniqueFd(::socket(domain, type | SOCK_CLOEXEC, 0)));
  const auto parsed = parse_address(socket, address, size);
  return parsed ? 0 : parsed.error();
}

// As connect(2) on the same socket says it, where it refuses at all.
TEST(TrappedSocket, an_address_is_refused_as_the_kernel_refuses_it) {
  const auto v4 = storage_of("127.0.0.1:9");
  const auto v6 = storage_of("[::1]:9");
  sockaddr_storage local{};
  local.ss_family = AF_UNIX;
  for (const int domain : {AF_INET, AF_INET6}) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
      for (const sockaddr_storage& address : {v4, v6, local}) {
        for (const socklen_t size : {0, 1, 2, 15, 16, 23, 24, 28, 128}) {
          const UniqueFd fd(::socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
          if (!fd.valid()) continue;  // no IPv6 here
          const bool refused =
              ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 &&
              (errno == EINVAL || errno == EAFNOSUPPORT);
          EXPECT_EQ(said(domain, type, address, size), refused ? errno : 0)
              << domain << " " << type << " " << address.ss_family << " " << size;
        }
      }
    }
  }
}

TEST(TrappedSocket, an_address_is_written_as_getpeername_writes_it) {
  const auto socket = TrappedSocket::of(UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
  const Endpoint peer = Endpoint::parse("203.0.113.1:53").value_or(Endpoint{});
  sockaddr_storage written{};
  socklen_t size = 4;
  const auto at = reinterpret_cast<std::uintptr_t>(&written);
  const auto size_at = reinterpret_cast<std::uintptr_t>(&size);
  EXPECT_EQ(write_address(socket, ::getpid(), peer, at, size_at), 0);
  EXPECT_EQ(size, sizeof(sockaddr_in));
  EXPECT_EQ(reinterpret_cast<const sockaddr_in*>(&written)->sin_port, htons(53));
  EXPECT_EQ(reinterpret_cast<const sockaddr_in*>(&written)->sin_addr.s_addr, 0U);
  EXPECT_EQ(write_address(socket, ::getpid(), peer, at, 0), EFAULT);
  EXPECT_EQ(write_address(socket, ::getpid(), peer, 0, size_at), EFAULT);
  size = 0;
  EXPECT_EQ(write_address(socket, ::getpid(), peer, 0, size_at), 0);
  EXPECT_EQ(size, sizeof(sockaddr_in));
  size = static_cast<socklen_t>(-1);
  EXPECT_EQ(write_address(socket, ::getpid(), peer, at, size_at), EINVAL);
}

TEST(TrappedSocket, an_answer_that_nobody_took_is_kept_for_the_same_call) {
  test::FakeCalls calls;
  TrappedProcesses owners;
  CallContext context{.calls = calls, .owners = owners};
  const auto heard = calls.make(1, 2, 3);
  tell(context, heard, 7, 8);
  EXPECT_EQ(calls.answer(heard), 8);
  EXPECT_FALSE(context.repeated.take(calls.make_again(heard), 7));
  const auto left = calls.make(1, 2, 3);
  calls.leave(left);
  tell(context, left, 7, std::unexpected(EAGAIN));  // nothing was done
  EXPECT_FALSE(context.repeated.take(left, 7));
  tell(context, left, 7, 8, 99);
  const auto done = context.repeated.take(calls.make_again(left), 7);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->value, 8);
  EXPECT_EQ(done->digest, 99U);
}

}  // namespace
}  // namespace shunt
