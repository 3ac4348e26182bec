// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/proxy.h"

#include <condition_variable>
#include <mutex>
#include <set>

#include "base/counters.h"
#include "proxy/fd_budget.h"
#include "proxy/worker.h"

namespace shunt {
namespace {

constexpr int kFdsPerWorker = 5;  // epoll, timerfd, eventfd; to a server for DNS, old and new

class SilentLog final : public FlowLog {
 public:
  void http_request(const Flow& /*flow*/, const HttpRequest& /*request*/) override {}
  void http_response(const Flow& /*flow*/, const HttpResponse& /*response*/) override {}
  void tls_hello(const Flow& /*flow*/, const TlsHello& /*hello*/) override {}
  void flow_end(const Flow& /*flow*/, const FlowEnd& /*end*/) override {}
};

class RunningProxy final : public Proxy {
 public:
  explicit RunningProxy(ProxyOptions options)
      : options_(std::move(options)),
        budget_(spare_descriptors(kFdsPerWorker * static_cast<int>(options_.workers.size()) +
                                  options_.other_descriptors)),
        policy_(std::move(options_.policy)),
        shared_{.options = options_,
                .policy = policy_,
                .names = {.lookups = &lookups_, .memory = &memory_, .own = &own_addresses_},
                .quic = quic_,
                .loop_guard = *options_.loop_guard,
                .log = options_.log != nullptr ? *options_.log : silent_,
                .budget = budget_,
                .needed = {},
                .idle_changed = [this] { note_idle(); }} {}

  ~RunningProxy() override { stop(); }

  Result<void> start() {
    unsigned index = 0;
    for (ListenerSet& listeners : options_.workers) {
      workers_.push_back(SHUNT_TRY(Worker::create(shared_, std::move(listeners), index++)));
      shared_.needed.push_back(workers_.back()->waker());
    }
    keep_for_workers(options_.origins.get());
    keep_for_workers(options_.reply_sockets.get());
    keep_for_workers(options_.processes);
    started_ = true;
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      auto begun = workers_[i]->start();
      if (begun) continue;
      workers_.resize(i);
      return begun;  // the others end with this object
    }
    return {};
  }

  void replace_policy(std::shared_ptr<const Policy> policy, LiveFlows live) override {
    policy_.replace(policy);
    if (live == LiveFlows::keep) return;
    for (auto& worker : workers_) worker->end_changed(policy);
  }

  bool drain(std::uint32_t timeout_ms) override {
    for (auto& worker : workers_) worker->close_listeners();
    return wait_idle(std::chrono::milliseconds(timeout_ms));
  }

  void stop() override {
    if (!started_) return;
    count(Counter::flows_cut_by_drain, live_flows());
    for (auto& worker : workers_) worker->cancel();
    // Cancelled flows end without waiting for anybody; the limit is for a bug, not for a peer.
    wait_idle(std::chrono::seconds(5));
    for (auto& worker : workers_) worker->join();
    started_ = false;
  }

  [[nodiscard]] std::size_t live_flows() const override {
    std::size_t live = 0;
    for (const auto& worker : workers_) live += worker->live_flows();
    return live;
  }

  [[nodiscard]] std::size_t flow_capacity() const override {
    std::set<const FdBudget*> budgets;
    for (const auto& worker : workers_) budgets.insert(&worker->budget());
    std::size_t capacity = 0;
    for (const FdBudget* budget : budgets) {
      capacity += static_cast<std::size_t>(budget->flow_capacity());
    }
    return capacity;
  }

 private:
  template <class Shared>
  void keep_for_workers(const Shared* shared) {
    if (shared == nullptr) return;
    const std::vector<int> needed = shared->descriptors();
    shared_.needed.insert(shared_.needed.end(), needed.begin(), needed.end());
  }

  void note_idle() {
    const std::scoped_lock lock(mutex_);
    changed_.notify_all();
  }

  bool wait_idle(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [this] {
      for (const auto& worker : workers_) {
        if (!worker->idle()) return false;
      }
      return true;
    });
  }

  ProxyOptions options_;
  SilentLog silent_;
  FdBudget budget_;
  CurrentPolicy policy_;
  NameVerifier lookups_;
  dns::Memory memory_{options_.trusted_resolvers};
  OwnAddresses own_addresses_;
  QuicConnections quic_;
  WorkerShared shared_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool started_ = false;
};

}  // namespace

Result<std::unique_ptr<Proxy>> Proxy::start(ProxyOptions options) {
  auto proxy = std::make_unique<RunningProxy>(std::move(options));
  SHUNT_CHECK(proxy->start());
  return proxy;
}

}  // namespace shunt
