// SPDX-License-Identifier: GPL-2.0-only
// The whole proxy without a capture: plain listeners on loopback, and a way out that knows where
// to go. What a capture adds is tested in tests/system.
#pragma once

#include <gtest/gtest.h>

#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "egress/direct.h"
#include "net/socket.h"
#include "proxy/proxy.h"
#include "unit/support/tcp_pair.h"

namespace shunt::test {

/// Dials one fixed endpoint, whatever the original destination.
class FixedWayOut final : public WayOut {
 public:
  /// With `fails`, none is reached and that is why.
  FixedWayOut(Endpoint target, UpstreamObserver* observer,
              std::optional<ConnectReason> fails = std::nullopt)
      : target_(target), fails_(fails), direct_(make_direct({.observer = observer})) {}
  [[nodiscard]] std::string_view name() const override { return "fixed"; }
  [[nodiscard]] bool wants_name() const override { return false; }
  [[nodiscard]] bool carries_udp() const override { return false; }
  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                        const Hints& hints) const override {
    if (fails_) co_return std::unexpected(ConnectFailure{.reason = *fails_, .detail = {}});
    Flow there = flow;
    there.original_destination = target_;
    co_return co_await direct_->connect(loop, there, hints);
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& /*loop*/,
                                                             const Flow& /*flow*/) const override {
    co_return std::unexpected(ConnectFailure{.reason = ConnectReason::unsupported, .detail = {}});
  }

 private:
  Endpoint target_;
  std::optional<ConnectReason> fails_;
  std::shared_ptr<const WayOut> direct_;
};

class RecordingLog final : public FlowLog {
 public:
  void http_request(const Flow& /*flow*/, const HttpRequest& /*request*/) override {}
  void http_response(const Flow& /*flow*/, const HttpResponse& /*response*/) override {}
  void tls_hello(const Flow& /*flow*/, const TlsHello& /*hello*/) override {}
  void flow_end(const Flow& flow, const FlowEnd& end) override {
    const std::scoped_lock lock(mutex_);
    ids_.insert(flow.id);
    ends_.push_back(end);
  }
  std::vector<FlowEnd> wait_for_ends(std::size_t count) {
    for (int i = 0; i < kDeadlineMs / 5; ++i) {
      {
        const std::scoped_lock lock(mutex_);
        if (ends_.size() >= count) return ends_;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ADD_FAILURE() << "only " << ends_.size() << " of " << count << " flows ended";
    return ends_;
  }
  std::size_t distinct_ids() {
    const std::scoped_lock lock(mutex_);
    return ids_.size();
  }

 private:
  std::mutex mutex_;
  std::vector<FlowEnd> ends_;
  std::set<std::uint64_t> ids_;
};

inline UniqueFd dial(const Endpoint& endpoint) {
  UniqueFd fd = std::move(make_socket(endpoint.address.family(), SocketType::stream)).value();
  make_blocking(fd.get());
  const SocketAddress address(endpoint);
  EXPECT_EQ(::connect(fd.get(), address.get(), address.size()), 0) << strerror(errno);
  return fd;
}

inline UniqueFd accept_one(const UniqueFd& listener) {
  EXPECT_TRUE(wait_for(listener.get(), POLLIN));
  return UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

inline void expect_reset(const UniqueFd& peer) {
  int error = 0;
  receive_to_end(peer.get(), &error);
  EXPECT_EQ(error, ECONNRESET);
}

class ProxyTest : public ::testing::Test {
 protected:
  /// Everything goes to `target`, or to the test's server.
  void start(std::optional<Endpoint> target = std::nullopt, bool own = false) {
    auto guard = std::make_shared<LoopGuard>();
    auto policy = Policy::always(std::make_shared<FixedWayOut>(
        target.value_or(*local_endpoint(server_.get())), guard.get()));
    start(std::move(policy), own, std::move(guard));
  }

  void start(std::shared_ptr<const Policy> policy, bool own = false,
             std::shared_ptr<LoopGuard> guard = std::make_shared<LoopGuard>()) {
    ProxyOptions options;
    UniqueFd listener = listen_on_loopback();
    front_ = *local_endpoint(listener.get());
    options.workers.emplace_back();
    options.workers.back().tcp.push_back(std::move(listener));
    if (own) options.own_listeners = {front_};
    options.loop_guard = std::move(guard);
    options.policy = std::move(policy);
    options.log = &log_;
    options.observe_content = false;
    options.other_descriptors = other_descriptors_;
    options.sniff_wait_ms = sniff_wait_ms_;
    proxy_ = std::move(Proxy::start(std::move(options))).value();
  }

  std::uint32_t sniff_wait_ms_ = kDeadlineMs;
  int other_descriptors_ = 0;
  UniqueFd server_ = listen_on_loopback();
  Endpoint front_;
  RecordingLog log_;
  std::unique_ptr<Proxy> proxy_;
};

}  // namespace shunt::test
