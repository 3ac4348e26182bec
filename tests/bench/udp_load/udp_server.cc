// SPDX-License-Identifier: GPL-2.0-only
#include "udp_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "../load/epoll_set.h"
#include "net/socket.h"

namespace shunt::load {
namespace {

constexpr std::size_t kBatch = 64;
constexpr std::size_t kRoom = 2048;

class DatagramServer {
 public:
  DatagramServer() : bytes_(kBatch * kRoom) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      vectors_[i] = {bytes_.data() + i * kRoom, kRoom};
      messages_[i].msg_hdr = {.msg_name = &names_[i],
                              .msg_namelen = sizeof names_[i],
                              .msg_iov = &vectors_[i],
                              .msg_iovlen = 1,
                              .msg_control = nullptr,
                              .msg_controllen = 0,
                              .msg_flags = 0};
    }
  }

  void listen_on(const Endpoint& endpoint) {
    auto fd = make_socket(endpoint.address.family(), SocketType::datagram);
    if (!fd) die("socket");
    constexpr int kBytes = 32 << 20;
    if (!set_option(fd->get(), SOL_SOCKET, SO_RCVBUFFORCE, kBytes, "SO_RCVBUFFORCE")) {
      die("SO_RCVBUFFORCE");
    }
    if (!bind_to(fd->get(), endpoint)) die("bind");
    epoll_.add(fd->get(), reinterpret_cast<void*>(static_cast<std::intptr_t>(fd->get())), EPOLLIN);
    sockets_.push_back(*std::move(fd));
  }

  int run() {
    epoll_.add(STDIN_FILENO, nullptr, EPOLLIN);
    bool ended = false;
    while (!ended) {
      epoll_.wait(-1, [&](void* data, std::uint32_t) {
        if (data == nullptr) {
          ended = !tell();
        } else {
          take(static_cast<int>(reinterpret_cast<std::intptr_t>(data)));
        }
      });
    }
    return 0;
  }

 private:
  void take(int fd) {
    for (auto& message : messages_) message.msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    const int count = ::recvmmsg(fd, messages_.data(), kBatch, MSG_DONTWAIT, nullptr);
    for (int i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (bytes_[at * kRoom] != 'e') {
        ++counted_;
        continue;
      }
      const msghdr& header = messages_[at].msg_hdr;
      (void)::sendto(fd, vectors_[at].iov_base, messages_[at].msg_len, MSG_DONTWAIT,
                     static_cast<sockaddr*>(header.msg_name), header.msg_namelen);
    }
  }

  bool tell() {
    std::array<char, 64> line{};
    if (::read(STDIN_FILENO, line.data(), line.size()) <= 0) return false;
    std::printf("{\"packets\": %llu}\n", static_cast<unsigned long long>(counted_));
    std::fflush(stdout);
    return true;
  }

  EpollSet epoll_;
  std::vector<UniqueFd> sockets_;
  std::vector<char> bytes_;
  std::array<sockaddr_storage, kBatch> names_{};
  std::array<iovec, kBatch> vectors_{};
  std::array<mmsghdr, kBatch> messages_{};
  std::uint64_t counted_ = 0;
};

}  // namespace

int serve_datagrams(const Endpoint& first, int count) {
  DatagramServer server;
  for (int i = 0; i < count; ++i) {
    server.listen_on({first.address, static_cast<std::uint16_t>(first.port + i)});
  }
  std::puts("ready");
  std::fflush(stdout);
  return server.run();
}

}  // namespace shunt::load
