// SPDX-License-Identifier: GPL-2.0-only
#include "cli/stop_signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <utility>

namespace shunt::cli {
namespace {

/// The number of the next signal, 0 if none waits.
unsigned next_signal(int fd) {
  signalfd_siginfo info{};
  return ::read(fd, &info, sizeof info) == sizeof info ? info.ssi_signo : 0;
}

bool is_ignored(int number) {
  struct sigaction current{};
  return ::sigaction(number, nullptr, &current) == 0 && current.sa_handler == SIG_IGN;
}

}  // namespace

Result<StopSignals> StopSignals::create() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file at its limit (setrlimit(2)) is a write that fails: EFBIG
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    // A blocked signal is queued even where it is ignored (signal(7)): it must not be in the set.
    if (!is_ignored(number)) sigaddset(&signals, number);
  }
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return Failure(errno_error("signalfd"));
  return StopSignals(std::move(fd));
}

unsigned StopSignals::next() const { return next_signal(fd_.get()); }

bool StopSignals::take() const { return next() != 0; }

bool StopSignals::interrupted_again() const {
  bool interrupted = false;
  while (const unsigned number = next_signal(fd_.get())) {
    interrupted = interrupted || number == SIGINT;
  }
  return interrupted;
}

}  // namespace shunt::cli
