// SPDX-License-Identifier: GPL-2.0-only
#include "udp_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>

#include "../load/epoll_set.h"
#include "net/socket.h"

namespace shunt::load {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kBatch = 32;
constexpr double kTouchesPerSecond = 20'000;  ///< while each flow is opened

UniqueFd source_socket(const UdpLoad& load, std::size_t index) {
  auto fd = make_socket(load.target.address.family(), SocketType::datagram);
  if (!fd) die("socket");
  const Endpoint any{Address::any(load.target.address.family()), 0};
  const Endpoint source =
      load.sources.empty() ? any : Endpoint{load.sources[index % load.sources.size()], 0};
  if (!bind_to(fd->get(), source)) die("bind");
  return *std::move(fd);
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// All sockets send to all ports, in turn.
class Flood {
 public:
  explicit Flood(const UdpLoad& load) : payload_(load.bytes, 'f') {
    for (int i = 0; i < load.sockets; ++i) {
      sockets_.push_back(source_socket(load, static_cast<std::size_t>(i)));
    }
    for (int i = 0; i < load.ports; ++i) {
      targets_.emplace_back(
          Endpoint{load.target.address, static_cast<std::uint16_t>(load.target.port + i)});
    }
    vector_ = {payload_.data(), payload_.size()};
  }

  [[nodiscard]] std::size_t flows() const { return sockets_.size() * targets_.size(); }

  /// The next so many datagrams of one socket; how many were sent.
  std::size_t send(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const SocketAddress& target = targets_[(port_ + i) % targets_.size()];
      messages_[i].msg_hdr = {.msg_name = const_cast<sockaddr*>(target.get()),
                              .msg_namelen = target.size(),
                              .msg_iov = &vector_,
                              .msg_iovlen = 1,
                              .msg_control = nullptr,
                              .msg_controllen = 0,
                              .msg_flags = 0};
    }
    const int sent =
        ::sendmmsg(sockets_[socket_].get(), messages_.data(), static_cast<unsigned>(count), 0);
    port_ += count;
    if (port_ >= targets_.size()) {
      port_ %= targets_.size();
      socket_ = (socket_ + 1) % sockets_.size();
    }
    return sent > 0 ? static_cast<std::size_t>(sent) : 0;
  }

  /// For so long, or so many; at most `rate` a second, unless that is 0.
  std::uint64_t run(double seconds, std::uint64_t most, double rate) {
    const auto start = Clock::now();
    std::uint64_t sent = 0;
    while (sent < most && seconds_since(start) < seconds) {
      const std::size_t batch = targets_.size() == 1 ? kBatch : std::min(kBatch, targets_.size());
      sent += send(std::min<std::uint64_t>(batch, most - sent));
      if (rate > 0) {
        std::this_thread::sleep_until(
            start + std::chrono::duration_cast<Clock::duration>(
                        std::chrono::duration<double>(static_cast<double>(sent) / rate)));
      }
    }
    return sent;
  }

 private:
  std::vector<char> payload_;
  std::vector<UniqueFd> sockets_;
  std::vector<SocketAddress> targets_;
  std::array<mmsghdr, kBatch> messages_{};
  iovec vector_{};
  std::size_t socket_ = 0;
  std::size_t port_ = 0;
};

double percentile(std::vector<double>& values, double part) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
}

struct Echoes {
  std::uint64_t sent = 0;
  std::vector<double> took_us;
};

/// Takes what comes back until then.
void collect(int fd, Clock::time_point until, Echoes& echoes) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(until - Clock::now());
    if (left.count() <= 0) return;
    timespec wait{.tv_sec = left.count() / 1'000'000, .tv_nsec = left.count() % 1'000'000 * 1000};
    pollfd waiting{fd, POLLIN, 0};
    if (::ppoll(&waiting, 1, &wait, nullptr) <= 0) continue;
    std::array<char, kMostBytes> bytes{};
    if (::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT) < static_cast<ssize_t>(kLeastBytes)) {
      continue;
    }
    Clock::rep then = 0;
    std::memcpy(&then, bytes.data() + 8, sizeof then);
    const auto took = Clock::now() - Clock::time_point(Clock::duration(then));
    echoes.took_us.push_back(std::chrono::duration<double, std::micro>(took).count());
  }
}

}  // namespace

int flood(const UdpLoad& load) {
  Flood flood(load);
  const std::uint64_t opened = flood.run(60, flood.flows(), kTouchesPerSecond);
  const auto start = Clock::now();
  const std::uint64_t sent = flood.run(load.seconds, UINT64_MAX, load.rate);
  std::printf("{\"opened\": %llu, \"sent\": %llu, \"seconds\": %.6f}\n",
              static_cast<unsigned long long>(opened), static_cast<unsigned long long>(sent),
              seconds_since(start));
  return 0;
}

int ping(const UdpLoad& load) {
  const UniqueFd fd = source_socket(load, 0);
  const SocketAddress target(load.target);
  std::vector<char> bytes(load.bytes, 'e');
  const std::chrono::duration<double> gap(1 / (load.rate > 0 ? load.rate : 60));
  Echoes echoes;
  const auto start = Clock::now();
  while (seconds_since(start) < load.seconds) {
    const Clock::rep now = Clock::now().time_since_epoch().count();
    std::memcpy(bytes.data() + 8, &now, sizeof now);
    if (::sendto(fd.get(), bytes.data(), bytes.size(), 0, target.get(), target.size()) > 0) {
      ++echoes.sent;
    }
    const auto next = gap * static_cast<double>(echoes.sent);
    collect(fd.get(), start + std::chrono::duration_cast<Clock::duration>(next), echoes);
  }
  collect(fd.get(), Clock::now() + std::chrono::seconds(1), echoes);
  std::printf("{\"sent\": %llu, \"received\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
              static_cast<unsigned long long>(echoes.sent), echoes.took_us.size(),
              percentile(echoes.took_us, 0.5), percentile(echoes.took_us, 0.99));
  return 0;
}

}  // namespace shunt::load
