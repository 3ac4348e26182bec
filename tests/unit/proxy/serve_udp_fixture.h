// SPDX-License-Identifier: GPL-2.0-only
// The UDP server on loopback with a made-up capture (every datagram that reaches the listener was
// meant for the address that set_destination() said) and a made-up way out (every destination is
// the test's own server).
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/socket.h"
#include "proxy/serve_udp.h"
#include "unit/support/loop_thread.h"

namespace shunt::test {

inline std::mutex destination_mutex;
inline Endpoint made_up_destination;

inline void set_destination(const Endpoint& destination) {
  const std::scoped_lock lock(destination_mutex);
  made_up_destination = destination;
}

inline std::optional<Endpoint> destination_of(const msghdr& /*message*/) {
  const std::scoped_lock lock(destination_mutex);
  return made_up_destination;
}

class EndsLog final : public FlowLog {
 public:
  void flow_start(const Flow& /*flow*/) override { ++started; }
  void http_request(const Flow& /*flow*/, const HttpRequest& /*request*/) override {}
  void http_response(const Flow& /*flow*/, const HttpResponse& /*response*/) override {}
  void tls_hello(const Flow& flow, const TlsHello& hello) override {
    const std::scoped_lock lock(mutex_);
    hellos_.emplace_back(flow, hello);
  }
  void flow_end(const Flow& flow, const FlowEnd& end) override {
    const std::scoped_lock lock(mutex_);
    ends_.emplace_back(flow, end);
  }
  std::vector<std::pair<Flow, FlowEnd>> ends() {
    const std::scoped_lock lock(mutex_);
    return ends_;
  }
  std::vector<std::pair<Flow, TlsHello>> hellos() {
    const std::scoped_lock lock(mutex_);
    return hellos_;
  }
  std::atomic<int> started = 0;

 private:
  std::mutex mutex_;
  std::vector<std::pair<Flow, FlowEnd>> ends_;
  std::vector<std::pair<Flow, TlsHello>> hellos_;
};

/// Replies leave from an ephemeral port of loopback; nothing of it needs a privilege.
class LoopbackReplies final : public ReplySockets {
 public:
  Result<UniqueFd> bound(const Endpoint& source) override {
    ++made;
    UniqueFd fd = SHUNT_TRY(make_socket(source.address.family(), SocketType::datagram));
    SHUNT_CHECK(bind_to(fd.get(), Endpoint{Address::loopback(source.address.family()), 0}));
    return fd;
  }
  Result<UniqueFd> raw(const Address& /*source*/) override {
    return Failure(errno_error("socket(SOCK_RAW)", EPERM));
  }
  std::atomic<int> made = 0;
};

inline ConnectFailure failure_of(ConnectReason reason) {
  return {.reason = reason, .os_error = 0, .detail = {}};
}

class ToServer final : public WayOut {
 public:
  explicit ToServer(const Endpoint& server) : server_(server) {}
  std::string_view name() const override { return "to-server"; }
  bool wants_name() const override { return false; }
  bool carries_udp() const override { return carries; }
  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop&, const Flow&,
                                                        const Hints&) const override {
    co_return std::unexpected(ConnectFailure{});
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& loop,
                                                             const Flow&) const override {
    ++dials;
    if (dial_ms > 0 && co_await loop.sleep(dial_ms) == Wake::cancelled) {
      co_return std::unexpected(failure_of(ConnectReason::cancelled));
    }
    if (fails) co_return std::unexpected(failure_of(ConnectReason::denied));
    UniqueFd fd = *make_socket(server_.address.family(), SocketType::datagram);
    const SocketAddress to(server_);
    EXPECT_EQ(::connect(fd.get(), to.get(), to.size()), 0);
    UdpUpstream upstream;
    upstream.socket = *WatchedFd::create(loop, std::move(fd), 0);
    upstream.header = header;
    upstream.unwrap = [](const UdpUpstream& of, std::string_view datagram) {
      return datagram.starts_with(of.header) ? std::optional(datagram.substr(of.header.size()))
                                             : std::nullopt;
    };
    if (control != nullptr) {
      upstream.controls.push_back({*WatchedFd::create(loop, std::move(*control), 0), {}});
    }
    co_return upstream;
  }

  bool carries = true;
  bool fails = false;
  std::uint32_t dial_ms = 0;
  std::string header;
  UniqueFd* control = nullptr;
  mutable std::atomic<int> dials = 0;

 private:
  Endpoint server_;
};

inline bool eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

/// A test's own socket: the client's, or the server's.
class Peer {
 public:
  explicit Peer(const Address& address)
      : fd_(*make_socket(address.family(), SocketType::datagram)) {
    EXPECT_TRUE(bind_to(fd_.get(), Endpoint{address, 0}));
  }
  [[nodiscard]] Endpoint endpoint() const { return *local_endpoint(fd_.get()); }
  void send(const Endpoint& to, std::string_view payload) {
    const SocketAddress address(to);
    EXPECT_EQ(::sendto(fd_.get(), payload.data(), payload.size(), 0, address.get(), address.size()),
              static_cast<ssize_t>(payload.size()));
  }
  /// The next datagram, empty optional when none came in time; `from` says where from.
  std::optional<std::string> receive(int timeout_ms = 5000) {
    pollfd waiting{fd_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, timeout_ms) != 1) return std::nullopt;
    std::string buffer(70'000, '\0');
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    const auto got = ::recvfrom(fd_.get(), buffer.data(), buffer.size(), 0,
                                reinterpret_cast<sockaddr*>(&storage), &size);
    if (got < 0) return std::nullopt;
    from = *Endpoint::from(storage);
    buffer.resize(static_cast<std::size_t>(got));
    return buffer;
  }
  void close() { fd_.reset(); }
  Endpoint from;

 private:
  UniqueFd fd_;
};

class ServeUdpTest : public testing::TestWithParam<Family> {
 protected:
  ServeUdpTest()
      : server(Address::loopback(GetParam())),
        way_out(std::make_shared<ToServer>(server.endpoint())),
        policy(Policy::always(way_out)),
        replies(std::make_shared<LoopbackReplies>()) {
    options.policy = &policy;
    options.reply_sockets = replies;
    options.loop_guard = &guard;
    options.log = &log;
    options.next_flow_id = [id = std::uint64_t{0}]() mutable { return ++id; };
    options.original_destination = destination_of;
    set_destination(GetParam() == Family::ipv4 ? *Endpoint::parse("198.51.100.1:4433")
                                               : *Endpoint::parse("[2001:db8::1]:4433"));
  }

  ~ServeUdpTest() override {
    if (udp == nullptr) return;
    on_loop<int>([this] { return udp->stop(), 0; });
    EXPECT_EQ(done.wait_for(std::chrono::seconds(10)), std::future_status::ready)
        << "run() did not return";
    on_loop<int>([this] { return udp.reset(), 0; });
  }

  void start() {
    UniqueFd fd = *make_socket(GetParam(), SocketType::datagram);
    EXPECT_TRUE(bind_to(fd.get(), Endpoint{Address::loopback(GetParam()), 0}));
    listener = *local_endpoint(fd.get());
    std::vector<UniqueFd> listeners;
    listeners.push_back(std::move(fd));
    on_loop<int>([&] {
      udp = *UdpServer::create(loop.loop(), std::move(listeners), std::move(options));
      return 0;
    });
    done = loop.start<int>([this] { return run(); });
  }

  Task<int> run() {
    co_await udp->run();
    co_return 0;
  }

  template <class T>
  T on_loop(std::function<T()> work) {
    std::promise<T> promise;
    loop.loop().post([&] { promise.set_value(work()); });
    return promise.get_future().get();
  }

  std::size_t sessions() {
    return on_loop<std::size_t>([this] { return udp->live_sessions(); });
  }

  /// Sends through the proxy; yields what the server received.
  std::optional<std::string> pass(Peer& client, std::string_view payload) {
    client.send(listener, payload);
    return server.receive();
  }

  Peer server;
  std::shared_ptr<ToServer> way_out;
  CurrentPolicy policy;
  std::shared_ptr<LoopbackReplies> replies;
  LoopGuard guard;
  EndsLog log;
  UdpOptions options;
  Endpoint listener;
  LoopThread loop;
  std::unique_ptr<UdpServer> udp;
  std::future<int> done;
};

inline std::string family_name(const testing::TestParamInfo<Family>& family) {
  return family.param == Family::ipv4 ? "ipv4" : "ipv6";
}

}  // namespace shunt::test
