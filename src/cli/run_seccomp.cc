// SPDX-License-Identifier: GPL-2.0-only
// `shunt run --method seccomp`: capture/call_capture.h.
#include <memory>
#include <utility>
#include <vector>

#include "capture/call_capture.h"
#include "capture/host_network.h"
#include "cli/options.h"
#include "cli/run_capture.h"
#include "cli/run_methods.h"
#include "kernel/call_trap.h"
#include "proxy/loop_guard.h"

namespace shunt::cli {
namespace {

class RunSeccomp final : public RunCapture {
 public:
  explicit RunSeccomp(std::shared_ptr<CallCapture> capture) : capture_(std::move(capture)) {}

  [[nodiscard]] RunMethod method() const override { return RunMethod::seccomp; }
  [[nodiscard]] std::vector<int> door() const override { return {capture_->door()}; }

  void hand_over(ProxyOptions& proxy) override {
    // One worker: calls are received by one thread.
    ListenerSet worker;
    worker.plain_udp.push_back(std::move(capture_->datagram_listener()));
    worker.source = capture_;
    proxy.workers.clear();
    proxy.workers.push_back(std::move(worker));
    proxy.method = CaptureMethod::seccomp;
    proxy.processes = &capture_->owners();
    proxy.own_listeners = capture_->own_listeners();
    // The proxy's own calls are not trapped, so there can be no loop; and a parked socket may well
    // have the same address and port as one to a proxy on this machine.
    proxy.loop_guard = std::make_shared<LoopGuard>();
  }

  ProcessNames* names() override { return &capture_->owners(); }
  void command_started(pid_t /*command*/) override {}
  [[nodiscard]] bool has_members() const override { return capture_->has_members(); }

 private:
  std::shared_ptr<CallCapture> capture_;
};

}  // namespace

Result<void> probe_run_seccomp() { return probe_call_trap(); }

Result<std::unique_ptr<RunCapture>> make_run_seccomp(const Options& options) {
  SHUNT_CHECK(probe_call_trap());
  auto capture = SHUNT_TRY(CallCapture::create({.name_servers = loopback_name_servers(),
                                                .through_proxy = options.has("via"),
                                                .early = options.value("connect") == "early"}));
  return std::make_unique<RunSeccomp>(std::move(capture));
}

Result<void> enter_run_seccomp(const RunDoor& door) {
  return enter_call_capture(door.fds.front().get());
}

}  // namespace shunt::cli
