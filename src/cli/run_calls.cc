// SPDX-License-Identifier: GPL-2.0-only
#include "cli/run_calls.h"

#include <utility>

#include "capture/call_capture.h"
#include "capture/host_network.h"
#include "cli/options.h"
#include "kernel/foreign_process.h"
#include "proxy/loop_guard.h"

namespace shunt::cli {
namespace {

class RunByCalls final : public RunCapture {
 public:
  RunByCalls(RunMethod method, CaptureMethod captured_as, std::shared_ptr<CallCapture> capture)
      : method_(method), captured_as_(captured_as), capture_(std::move(capture)) {}

  [[nodiscard]] RunMethod method() const override { return method_; }
  [[nodiscard]] std::vector<int> door() const override { return {capture_->door()}; }
  void hand_over(ProxyOptions& proxy) override {
    hand_over_calls({.method = captured_as_,
                     .source = capture_,
                     .datagrams = std::move(capture_->datagram_listener()),
                     .own_listeners = capture_->own_listeners(),
                     .owners = capture_->owners()},
                    proxy);
    proxy.other_descriptors += static_cast<int>(ForeignProcesses::kKept);
  }
  ProcessNames* names() override { return &capture_->owners(); }
  void command_started(pid_t /*command*/) override {}
  [[nodiscard]] bool has_members() const override { return capture_->has_members(); }

 private:
  RunMethod method_;
  CaptureMethod captured_as_;
  std::shared_ptr<CallCapture> capture_;
};

}  // namespace

CallCaptureOptions call_capture_options(const Options& options) {
  return {.name_servers = loopback_name_servers(),
          .through_proxy = options.has("via"),
          .early = options.value("connect") == "early"};
}

void hand_over_calls(CallsInHand calls, ProxyOptions& proxy) {
  // One worker: calls are received by one thread.
  ListenerSet worker;
  worker.plain_udp.push_back(std::move(calls.datagrams));
  worker.source = std::move(calls.source);
  proxy.workers.clear();
  proxy.workers.push_back(std::move(worker));
  proxy.method = calls.method;
  proxy.processes = &calls.owners;
  proxy.own_listeners = std::move(calls.own_listeners);
  // The proxy's own calls are nobody's to answer, so there can be no loop; and a parked socket may
  // well have the same address and port as one to a proxy on this machine.
  proxy.loop_guard = std::make_shared<LoopGuard>();
}

Result<std::unique_ptr<RunCapture>> make_run_by_calls(RunMethod method, CaptureMethod captured_as,
                                                      const Options& options) {
  auto capture = SHUNT_TRY(CallCapture::create(captured_as, call_capture_options(options)));
  return std::make_unique<RunByCalls>(method, captured_as, std::move(capture));
}

}  // namespace shunt::cli
