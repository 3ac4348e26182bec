// SPDX-License-Identifier: GPL-2.0-only
#include "cli/companion.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <string_view>

#include "cli/carrier_process.h"
#include "net/fd_passing.h"

namespace shunt::cli {
namespace {

constexpr int kStoppedCheckMs = 100;  // how long a supervisor may stay stopped alone
constexpr std::size_t kRememberedSignals = 32;

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

}  // namespace

Result<void> SignalMemory::open() {
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGCHLD);  // a tracer's (kernel/traced_threads.h); no group is sent it
  fd_ = UniqueFd(::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_.valid()) return Failure(errno_error("signalfd"));
  return {};
}

bool SignalMemory::saw(int signal, pid_t sender) {
  read_pending();
  const auto found = std::ranges::find_if(
      seen_, [&](const Seen& seen) { return seen.signal == signal && seen.sender == sender; });
  if (found == seen_.end()) return false;
  seen_.erase(found);
  return true;
}

bool SignalMemory::end_requested() {
  read_pending();
  return std::ranges::any_of(seen_, [](const Seen& seen) { return seen.signal == SIGTERM; });
}

void SignalMemory::forget() {
  read_pending();
  seen_.clear();
}

void SignalMemory::read_pending() {
  signalfd_siginfo info{};
  while (::read(fd_.get(), &info, sizeof info) == sizeof info) {
    if (seen_.size() == kRememberedSignals) seen_.pop_front();
    seen_.push_back({static_cast<int>(info.ssi_signo), static_cast<pid_t>(info.ssi_pid)});
  }
}

bool Companion::attend(int fd, int wait_ms) {
  std::array<pollfd, 3> readable{{{.fd = channel_.get(), .events = POLLIN, .revents = 0},
                                  {.fd = signals_.fd(), .events = POLLIN, .revents = 0},
                                  {.fd = fd, .events = POLLIN, .revents = 0}}};
  if (stopped_command_ != 0) {
    wait_ms = wait_ms < 0 ? kStoppedCheckMs : std::min(wait_ms, kStoppedCheckMs);
  }
  ::poll(readable.data(), readable.size(), wait_ms);
  // At once: a second one of the same number would not be queued.
  signals_.read_pending();
  if (readable[0].revents != 0 && !handle_request()) return false;
  if (stopped_command_ > 0 && !is_stopped(stopped_command_)) ::kill(::getppid(), SIGCONT);
  return true;
}

bool Companion::handle_request() {
  const auto record = receive_record(channel_.get());
  CarrierRequest request;
  if (!record || record->bytes.size() != sizeof request) return false;
  std::memcpy(&request, record->bytes.data(), sizeof request);
  switch (request.letter) {
    case kWasItSeen: answer(signals_.saw(request.signal, request.pid) ? kSeen : kNotSeen); break;
    case kCommandStarted: command_started(request.pid); break;
    case kStopping: stopped_command_ = request.pid; break;
    case kResumed: stopped_command_ = 0; break;
    default: break;
  }
  return request.letter != kCommandEnded;
}

void Companion::answer(char letter) { (void)send_record(channel_.get(), {&letter, 1}); }

void Companion::let_go() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.valid()) ::dup2(null.get(), STDERR_FILENO);
  [[maybe_unused]] const int ignored = ::chdir("/");
  answer(kStaying);
  channel_.reset();
  signals_.forget();
}

bool Companion::attend_alone(int fd, int wait_ms) {
  std::array<pollfd, 2> readable{{{.fd = signals_.fd(), .events = POLLIN, .revents = 0},
                                  {.fd = fd, .events = POLLIN, .revents = 0}}};
  ::poll(readable.data(), readable.size(), wait_ms);
  return !signals_.end_requested();
}

void leave_input_and_output() {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO}) {
    if (null.valid()) ::dup2(null.get(), fd);
  }
}

}  // namespace shunt::cli
