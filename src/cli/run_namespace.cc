// SPDX-License-Identifier: GPL-2.0-only
// `shunt run --method namespace`: capture/capture_namespace.h.
#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error_numbers.h"
#include "base/limits.h"
#include "base/log.h"
#include "capture/capture_namespace.h"
#include "capture/host_network.h"
#include "capture/host_network_watch.h"
#include "capture/namespace_processes.h"
#include "cli/options.h"
#include "cli/proxy_setup.h"
#include "cli/run_capture.h"
#include "cli/run_methods.h"
#include "kernel/namespace_members.h"
#include "kernel/netns.h"

namespace shunt::cli {
namespace {

class RunNamespace final : public RunCapture {
 public:
  explicit RunNamespace(CaptureNamespace made, const HostNetwork& host, bool through_proxy)
      : namespace_(std::move(made)),
        holder_(namespace_->holder()),
        processes_(std::move(namespace_->diag_socket()), namespace_->door().network.get(),
                   holder_) {
    if (auto watch = HostNetworkWatch::create(host, through_proxy)) watch_ = std::move(*watch);
  }

  ~RunNamespace() override {
    namespace_.reset();        // the holder reads its end from the channel
    ::kill(holder_, SIGKILL);  // nothing of its own to lose, and it may have been stopped
    ::waitpid(holder_, nullptr, 0);
  }
  RunNamespace(const RunNamespace&) = delete;
  RunNamespace& operator=(const RunNamespace&) = delete;

  [[nodiscard]] RunMethod method() const override { return RunMethod::network_namespace; }

  [[nodiscard]] std::vector<int> door() const override {
    const NamespaceDoor& door = namespace_->door();
    std::vector<int> fds{door.network.get()};
    if (door.user.valid()) fds.push_back(door.user.get());
    return fds;
  }

  void hand_over(ProxyOptions& proxy) override {
    proxy.workers = std::move(namespace_->listeners().workers);
    proxy.method = CaptureMethod::tproxy;
    proxy.processes = &processes_;
    proxy.own_listeners = namespace_->listeners().own;
    proxy.reply_sockets = namespace_->reply_sockets();
    // A client in the namespace may well have the same address and port as an upstream socket in
    // the host's: that is no loop, and there can be none between two namespaces.
    proxy.loop_guard = std::make_shared<LoopGuard>();
  }

  ProcessNames* names() override { return &processes_; }
  void command_started(pid_t command) override { processes_.set_command(command); }
  [[nodiscard]] bool has_members() const override {
    return shunt::has_members(namespace_->door().network.get(), holder_);
  }

  [[nodiscard]] int watch_fd() const override { return watch_ ? watch_->fd() : -1; }
  [[nodiscard]] int wait_ms() const override { return watch_ ? watch_->timeout_ms() : -1; }
  void follow() override {
    const auto host = watch_ ? watch_->changed() : std::nullopt;
    if (!host) return;
    if (const auto done = namespace_->change_network(*host); !done) {
      log(LogLevel::warning,
          "the command does not see that the network changed: " + done.error().text());
    }
  }

 private:
  std::optional<CaptureNamespace> namespace_;
  pid_t holder_;
  std::optional<HostNetworkWatch> watch_;  ///< empty where the host does not allow it
  NamespaceProcesses processes_;
};

/// Only who asked for it is told.
Result<void> check_hold(const CaptureNamespace& made, const Options& options) {
  const std::string& why_not = made.why_not_held();
  if (why_not.empty() || options.value("connect") != "honest") return {};
  return Failure(make_error(
      Kind::unsupported, error_number::kNotHonest,
      fmt::format("the command cannot be held until its servers have answered: {}", why_not),
      "shunt doctor      (without --connect it is let in first where that is so)"));
}

}  // namespace

/// A user's own way, which root would not need: who has a choice of methods is mostly a user.
Result<void> probe_run_namespace() {
  const auto tried =
      run_in_throwaway_namespace([]() -> Result<std::string> { return std::string(); });
  return tried ? Result<void>() : Failure(tried.error());
}

Result<std::unique_ptr<RunCapture>> make_run_namespace(const Options& options) {
  const bool through_proxy = options.has("via");
  const HostNetwork host = look_at_host(through_proxy);
  auto made =
      SHUNT_TRY(CaptureNamespace::create({.host = host,
                                          .name_servers = loopback_name_servers(),
                                          .localhost_is_host = options.has("allow-localhost"),
                                          .workers = std::min(worker_count(0), limits::kRunWorkers),
                                          .hold = options.value("connect") != "early"}));
  const auto held = check_hold(made, options);
  auto capture = std::make_unique<RunNamespace>(std::move(made), host, through_proxy);
  if (!held) return Failure(held.error());
  return capture;
}

Result<void> enter_run_namespace(const RunDoor& door) {
  return enter_capture_namespace(door.fds[0].get(), door.fds.size() > 1 ? door.fds[1].get() : -1);
}

}  // namespace shunt::cli
