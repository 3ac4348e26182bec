// SPDX-License-Identifier: GPL-2.0-only
#include "cli/carrier_process.h"

#include <unistd.h>

#include <array>
#include <memory>

#include "base/error_record.h"
#include "base/limits.h"
#include "cli/companion.h"
#include "cli/dns_setup.h"
#include "cli/options.h"
#include "cli/process_title.h"
#include "cli/proxy_setup.h"
#include "cli/rule_options.h"
#include "cli/run_capture.h"
#include "kernel/capabilities.h"
#include "kernel/syscall_filter.h"
#include "net/fd_passing.h"
#include "proxy/dns_service.h"
#include "proxy/proxy.h"

namespace shunt::cli {
namespace {

constexpr std::uint32_t kLinesWaitMs = 1000;  // how long the supervisor is kept for last lines
constexpr int kMembersCheckMs = 500;          // how often to see whether anybody is left

class CarrierProcess final : public Companion {
 public:
  CarrierProcess(UniqueFd channel, const Options& options)
      : Companion(std::move(channel)), options_(options) {}

  Result<void> set_up();
  void serve();
  void finish();

 private:
  Result<void> start_proxy();
  Result<void> report_ready();
  void command_started(pid_t command) override { capture_->command_started(command); }
  void wait_for_members();
  void stop();

  const Options& options_;
  std::unique_ptr<RunCapture> capture_;
  TrafficSetup traffic_;
  std::unique_ptr<Proxy> proxy_;
};

int traffic_descriptor(const Options& options) {
  // Who asks for a format asks for the lines.
  const bool shown = options.has("output") || options.has("json") || ::isatty(STDERR_FILENO) == 1;
  return shown ? STDERR_FILENO : -1;
}

Result<void> CarrierProcess::set_up() {
  SHUNT_CHECK(watch_signals());
  (void)raise_descriptor_limit();
  capture_ = SHUNT_TRY(make_run_capture(options_));
  // It runs nothing itself, and has the command's uid: the command is to find no way into it.
  SHUNT_CHECK(gain_no_privileges());
  if (can_be_restricted()) SHUNT_CHECK(forbid_dumps());
  SHUNT_CHECK(start_proxy());
  return report_ready();
}

Result<void> CarrierProcess::start_proxy() {
  auto rules = SHUNT_TRY(rules_of(options_));
  // The capture ends with the command, so nobody asks later what a fake address meant.
  const DnsConfig dns = SHUNT_TRY(dns_config(options_));
  traffic_ = SHUNT_TRY(set_up_traffic(options_, std::move(rules), capture_->egress_mark()));
  traffic_.start_log(options_.has("json"), traffic_descriptor(options_), capture_->names());
  ProxyOptions proxy = traffic_.proxy_options(options_);
  proxy.dns = SHUNT_TRY(make_dns(dns, "", true));
  capture_->hand_over(proxy);
  proxy_ = SHUNT_TRY(Proxy::start(std::move(proxy)));
  return {};
}

Result<void> CarrierProcess::report_ready() {
  const std::array<char, 2> ready{kCarrierReady, static_cast<char>(capture_->method())};
  const std::vector<int> fds = capture_->door();
  return send_record(channel(), {ready.data(), ready.size()}, fds);
}

// Until the supervisor reports the command's end, or is gone itself.
void CarrierProcess::serve() {
  while (attend(capture_->watch_fd(), capture_->wait_ms())) capture_->follow();
}

void CarrierProcess::wait_for_members() {
  while (capture_->has_members()) {
    if (!attend_alone(-1, kMembersCheckMs)) return;
  }
}

void CarrierProcess::finish() {
  const bool alone = !capture_->has_members();
  if (alone && proxy_->drain(kLinesWaitMs)) {
    stop();
    answer(kEnding);
    return;
  }
  // Jobs in the background, or data that is still on its way to a slow upstream.
  if (traffic_.log != nullptr) traffic_.log->flush(kLinesWaitMs);
  let_go();
  wait_for_members();
  (void)proxy_->drain(limits::kDrainTimeoutMs);
  stop();
}

void CarrierProcess::stop() {
  proxy_->stop();
  if (traffic_.log != nullptr) traffic_.log->stop(kLinesWaitMs);
  proxy_.reset();
  capture_.reset();
}

}  // namespace

void carry(UniqueFd channel, const Options& options) {
  // Not called shunt: `pkill shunt` means the supervisor, and this process is its witness of what
  // was sent to the whole process group.
  set_process_title("run-carrier");
  const int report = channel.get();
  leave_input_and_output();
  CarrierProcess process(std::move(channel), options);
  if (const auto done = process.set_up(); !done) {
    (void)send_record(report, kCarrierFailed + error_record(done.error()));
    ::_exit(1);
  }
  process.serve();
  process.finish();
  ::_exit(0);
}

}  // namespace shunt::cli
