// SPDX-License-Identifier: GPL-2.0-only
#include "cli/supervise.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <optional>

namespace shunt::cli {
namespace {

constexpr int kSignalBase = 128;

bool in_our_group(pid_t command) { return ::getpgid(command) == ::getpgrp(); }

bool is_stop(int signal) { return signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU; }

// A SIGCONT discards the stop signals that are waiting (signal(7)); in the witness it may have done
// so already.
bool continue_is_pending() {
  sigset_t pending;
  return ::sigpending(&pending) == 0 && ::sigismember(&pending, SIGCONT) == 1;
}

// The kernel's own signals (the terminal's above all, si_code > 0) went to the group.
bool should_forward(const siginfo_t& info, pid_t command, const Bystanders& bystanders) {
  if (info.si_code > 0 || info.si_pid == command || info.si_pid == ::getpid()) return false;
  if (info.si_pid == bystanders.waker) return false;
  if (!in_our_group(command)) return true;
  // kill(-PGID) is one loop in the kernel; let it get round to the witness.
  const timespec moment{.tv_sec = 0, .tv_nsec = 1'000'000};
  ::nanosleep(&moment, nullptr);
  if (is_stop(info.si_signo) && continue_is_pending()) return false;
  return !bystanders.group_saw(info.si_signo, info.si_pid);
}

void forward(const siginfo_t& info, pid_t command) {
  if (info.si_code == SI_QUEUE) {
    ::sigqueue(command, info.si_signo, info.si_value);
  } else {
    ::kill(command, info.si_signo);
  }
}

/// Stops this process as the command was stopped; returns when it is continued.
void stop_like(int signal) {
  struct sigaction current{};
  ::sigaction(signal, nullptr, &current);
  // Ignored here from birth, but the command set it otherwise: only this one is left.
  if (current.sa_handler != SIG_DFL) signal = SIGSTOP;
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  ::kill(::getpid(), signal);
  ::pthread_sigmask(SIG_UNBLOCK, &one, nullptr);  // here it stops
  ::pthread_sigmask(SIG_BLOCK, &one, nullptr);
}

/// The signal that the command is stopped by at this moment, or 0.
int stopped_by(pid_t command, int extra_flags) {
  siginfo_t info{};
  const auto id = static_cast<id_t>(command);
  if (::waitid(P_PID, id, &info, WSTOPPED | WNOHANG | extra_flags) != 0) return 0;
  return info.si_pid == command ? info.si_status : 0;
}

std::optional<int> ended_with(pid_t command) {
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(command), &info, WEXITED | WNOHANG) != 0)
    return std::nullopt;
  if (info.si_pid != command) return std::nullopt;
  return info.si_code == CLD_EXITED ? info.si_status : kSignalBase + info.si_status;
}

}  // namespace

int supervise(pid_t command, const Bystanders& bystanders) {
  sigset_t all;
  sigfillset(&all);
  const timespec at_once{};
  while (true) {
    if (const auto code = ended_with(command)) return *code;
    // A SIGCONT may have come right behind the stop, and stopping now would swallow it: what is
    // pending goes first.
    const bool stopped = stopped_by(command, WNOWAIT) != 0;
    siginfo_t info{};
    const int signal = stopped ? ::sigtimedwait(&all, &info, &at_once) : ::sigwaitinfo(&all, &info);
    if (signal == SIGCHLD) {
      bystanders.child_changed();
    } else if (signal > 0) {
      if (should_forward(info, command, bystanders)) forward(info, command);
    } else if (stopped) {
      if (const int by = stopped_by(command, 0); by != 0) {
        bystanders.stopping();
        stop_like(by);
        bystanders.resumed();
      }
    }
  }
}

}  // namespace shunt::cli
