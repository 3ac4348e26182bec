// SPDX-License-Identifier: GPL-2.0-only
#include "cli/carrier_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <deque>
#include <memory>

#include "base/error_numbers.h"
#include "base/error_record.h"
#include "base/limits.h"
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
constexpr int kStoppedCheckMs = 100;          // how long a supervisor may stay stopped alone
constexpr int kMembersCheckMs = 500;          // how often to see whether anybody is left
constexpr std::size_t kRememberedSignals = 32;

/// Everything that the group got, so that the supervisor can tell its own signals from the group's.
class SignalMemory {
 public:
  static Result<SignalMemory> create() {
    sigset_t all;
    sigfillset(&all);
    SignalMemory memory;
    memory.fd_ = UniqueFd(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!memory.fd_.valid()) return Failure(errno_error("signalfd"));
    return memory;
  }

  /// Each signal is reported once.
  bool saw(int signal, pid_t sender) {
    read_pending();
    const auto found = std::ranges::find_if(
        seen_, [&](const Seen& seen) { return seen.signal == signal && seen.sender == sender; });
    if (found == seen_.end()) return false;
    seen_.erase(found);
    return true;
  }

  /// Has somebody asked this very process to end?
  bool end_requested() {
    read_pending();
    return std::ranges::any_of(seen_, [](const Seen& seen) { return seen.signal == SIGTERM; });
  }

  void forget() {
    read_pending();
    seen_.clear();
  }

  void read_pending() {
    signalfd_siginfo info{};
    while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
      if (seen_.size() == kRememberedSignals) seen_.pop_front();
      seen_.push_back({static_cast<int>(info.ssi_signo), static_cast<pid_t>(info.ssi_pid)});
    }
  }

  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  struct Seen {
    int signal;
    pid_t sender;
  };

  UniqueFd fd_;
  std::deque<Seen> seen_;
};

class CarrierProcess {
 public:
  CarrierProcess(UniqueFd channel, const Options& options)
      : channel_(std::move(channel)), options_(options) {}

  Result<void> set_up();
  void serve();
  void finish();

 private:
  Result<void> start_proxy();
  Result<void> report_ready();
  [[nodiscard]] int wait_ms() const;
  bool handle_request();
  void answer(char letter);
  void let_go();
  void wait_for_members();
  void stop();

  UniqueFd channel_;
  const Options& options_;
  std::optional<SignalMemory> signals_;
  std::unique_ptr<RunCapture> capture_;
  TrafficSetup traffic_;
  std::unique_ptr<Proxy> proxy_;
  pid_t stopped_command_ = 0;  ///< the supervisor is stopped because this is; 0: it is not
};

// proc_pid_stat(5): "PID (NAME) STATE …", and the name may hold anything.
bool is_stopped(pid_t pid) {
  const UniqueFd fd(::open(fmt::format("/proc/{}/stat", pid).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 256> text{};
  const auto size = fd.valid() ? ::read(fd.get(), text.data(), text.size()) : 0;
  const std::string_view line(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  const auto name_end = line.rfind(')');
  if (name_end == std::string_view::npos || name_end + 2 >= line.size()) return false;
  const char state = line[name_end + 2];
  return state == 'T' || state == 't';
}

int traffic_descriptor(const Options& options) {
  // Who asks for a format asks for the lines.
  const bool shown = options.has("output") || options.has("json") || ::isatty(STDERR_FILENO) == 1;
  return shown ? STDERR_FILENO : -1;
}

Result<void> CarrierProcess::set_up() {
  signals_ = SHUNT_TRY(SignalMemory::create());
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
  return send_record(channel_.get(), {ready.data(), ready.size()}, fds);
}

// Until the supervisor reports the command's end, or is gone itself.
void CarrierProcess::serve() {
  while (true) {
    std::array<pollfd, 3> readable{{{.fd = channel_.get(), .events = POLLIN, .revents = 0},
                                    {.fd = signals_->fd(), .events = POLLIN, .revents = 0},
                                    {.fd = capture_->watch_fd(), .events = POLLIN, .revents = 0}}};
    ::poll(readable.data(), readable.size(), wait_ms());
    // At once: a second one of the same number would not be queued.
    signals_->read_pending();
    if (readable[0].revents != 0 && !handle_request()) return;
    if (stopped_command_ > 0 && !is_stopped(stopped_command_)) ::kill(::getppid(), SIGCONT);
    capture_->follow();
  }
}

int CarrierProcess::wait_ms() const {
  const int settling = capture_->wait_ms();
  if (stopped_command_ == 0) return settling;
  return settling < 0 ? kStoppedCheckMs : std::min(settling, kStoppedCheckMs);
}

bool CarrierProcess::handle_request() {
  const auto record = receive_record(channel_.get());
  CarrierRequest request;
  if (!record || record->bytes.size() != sizeof request) return false;
  std::memcpy(&request, record->bytes.data(), sizeof request);
  switch (request.letter) {
    case kWasItSeen: answer(signals_->saw(request.signal, request.pid) ? kSeen : kNotSeen); break;
    case kCommandStarted: capture_->command_started(request.pid); break;
    case kStopping: stopped_command_ = request.pid; break;
    case kResumed: stopped_command_ = 0; break;
    default: break;
  }
  return request.letter != kCommandEnded;
}

void CarrierProcess::answer(char letter) { (void)send_record(channel_.get(), {&letter, 1}); }

// From here on nobody has to wait for what this process holds open.
void CarrierProcess::let_go() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.valid()) ::dup2(null.get(), STDERR_FILENO);
  [[maybe_unused]] const int ignored = ::chdir("/");
  answer(kStaying);
  channel_.reset();
}

void CarrierProcess::wait_for_members() {
  signals_->forget();
  while (capture_->has_members()) {
    pollfd signalled{.fd = signals_->fd(), .events = POLLIN, .revents = 0};
    ::poll(&signalled, 1, kMembersCheckMs);
    if (signals_->end_requested()) return;
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
  {
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO}) {
      if (null.valid()) ::dup2(null.get(), fd);
    }
  }
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
