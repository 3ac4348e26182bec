// SPDX-License-Identifier: GPL-2.0-only
// `shunt run --method ebpf`: capture/cgroup_capture.h on a cgroup made for the command, below the
// one that shunt is in.
//
// The supervisor gets copies of the links (RunDoor): should the carrier be killed, the programs
// stay for as long as the command, and what it connects to is refused rather than let through.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error_numbers.h"
#include "base/limits.h"
#include "base/log.h"
#include "capture/cgroup_capture.h"
#include "capture/cgroup_processes.h"
#include "capture/host_network.h"
#include "capture/host_network_watch.h"
#include "capture/reply_sockets.h"
#include "cli/options.h"
#include "cli/proxy_setup.h"
#include "cli/run_capture.h"
#include "cli/run_methods.h"
#include "kernel/capture_program.h"
#include "kernel/cgroup.h"

namespace shunt::cli {
namespace {

constexpr std::uint32_t kNoMark = 0;  // the carrier is not in the command's cgroup
constexpr std::string_view kKind = "run";

class RunEbpf final : public RunCapture {
 public:
  RunEbpf(Cgroup cgroup, UniqueFd procs, CgroupCapture capture, const HostNetwork& host,
          bool through_proxy)
      : cgroup_(std::move(cgroup)), procs_(std::move(procs)), capture_(std::move(capture)) {
    if (auto watch = HostNetworkWatch::create(host, through_proxy)) watch_ = std::move(*watch);
  }

  [[nodiscard]] RunMethod method() const override { return RunMethod::ebpf; }

  [[nodiscard]] std::vector<int> door() const override {
    std::vector<int> fds{procs_.get()};
    const auto links = capture_.program().links();
    fds.insert(fds.end(), links.begin(), links.end());
    return fds;
  }

  void hand_over(ProxyOptions& proxy) override {
    proxy.workers = std::move(capture_.listeners().workers);
    proxy.method = CaptureMethod::ebpf;
    proxy.own_listeners = capture_.listeners().own;
    proxy.origins = capture_.origins();
    proxy.reply_sockets = local_reply_sockets(kNoMark);
    proxy.processes = &processes_;
  }

  ProcessNames* names() override { return &processes_; }
  void command_started(pid_t /*command*/) override {}
  [[nodiscard]] bool has_members() const override { return is_populated(cgroup_.directory()); }

  [[nodiscard]] int watch_fd() const override { return watch_ ? watch_->fd() : -1; }
  [[nodiscard]] int wait_ms() const override { return watch_ ? watch_->timeout_ms() : -1; }
  void follow() override {
    if (const auto host = watch_ ? watch_->changed() : std::nullopt) capture_.change_network(*host);
  }

 private:
  Cgroup cgroup_;  // removed last: links hold it
  UniqueFd procs_;
  CgroupCapture capture_;
  std::optional<HostNetworkWatch> watch_;
  CgroupProcesses processes_;
};

/// connect() is answered before the server is known to.
Result<void> check_connect(const Options& options) {
  if (options.value("connect") != "honest") return {};
  return Failure(make_error(Kind::unsupported, error_number::kNotHonest,
                            "with --method ebpf a connection cannot be held until its server has "
                            "answered",
                            "--method namespace can"));
}

}  // namespace

Result<void> probe_run_ebpf() {
  const std::string parent = SHUNT_TRY(cgroup_directory());
  const auto cgroup = SHUNT_TRY(Cgroup::create(parent, kKind));
  auto program = SHUNT_TRY(CaptureProgram::load({}));
  return program->attach(cgroup.directory());
}

Result<std::unique_ptr<RunCapture>> make_run_ebpf(const Options& options) {
  SHUNT_CHECK(check_connect(options));
  const std::string parent = SHUNT_TRY(cgroup_directory());
  (void)sweep_cgroups(parent);
  auto cgroup = SHUNT_TRY(Cgroup::create(parent, kKind));
  UniqueFd procs(::open((cgroup.directory() + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (!procs.valid()) return Failure(errno_error("open the cgroup's list of processes"));
  const bool through_proxy = options.has("via");
  const HostNetwork host = look_at_host(through_proxy);
  auto capture =
      SHUNT_TRY(CgroupCapture::create({.host = host,
                                       .name_servers = loopback_name_servers(),
                                       .workers = std::min(worker_count(0), limits::kRunWorkers)}));
  SHUNT_CHECK(capture.attach(cgroup.directory()));
  if (!capture.why_no_ipv6_datagrams().empty()) {
    log(LogLevel::warning, fmt::format("the command's datagrams over IPv6 are refused: {}",
                                       capture.why_no_ipv6_datagrams()));
  }
  return std::make_unique<RunEbpf>(std::move(cgroup), std::move(procs), std::move(capture), host,
                                   through_proxy);
}

Result<void> enter_run_ebpf(const RunDoor& door) {
  constexpr std::string_view kSelf = "0";
  if (::write(door.fds[0].get(), kSelf.data(), kSelf.size()) > 0) return {};
  return Failure(errno_error("enter the command's cgroup"));
}

}  // namespace shunt::cli
