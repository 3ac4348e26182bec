// SPDX-License-Identifier: GPL-2.0-only
#include "capture/pending_connect.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace shunt {

PendingConnect::PendingConnect(const WaitingCalls& calls, TrappedSocket socket)
    : calls_(calls),
      family_(socket.family()),
      cookie_(socket.cookie()),
      socket_(std::move(socket.fd)) {}

void PendingConnect::add(std::uint64_t call, pid_t thread, Tick due) {
  // A library hands over calls of all threads under their process's number.
  const auto before = std::ranges::find_if(callers_, [this, thread](const Caller& caller) {
    return caller.thread == thread && !calls_.waits(caller.call);
  });
  if (before == callers_.end()) {
    callers_.push_back({.call = call, .thread = thread, .due = due});
  } else {
    before->call = call;
    before->untold = false;
  }
}

bool PendingConnect::awaited() const {
  return std::ranges::any_of(callers_,
                             [this](const Caller& caller) { return calls_.waits(caller.call); });
}

Tick PendingConnect::due() const {
  Tick first = TimerWheel::kNever;
  for (const Caller& caller : callers_) {
    if (!caller.untold) first = std::min(first, caller.due);
  }
  return first;
}

void PendingConnect::expire(Tick now) {
  std::erase_if(callers_, [this, now](Caller& caller) {
    if (caller.untold || caller.due > now) return false;
    caller.untold = !calls_.fail(caller.call, in_progress_known_ ? EALREADY : EINPROGRESS);
    if (!caller.untold) in_progress_known_ = true;
    return !caller.untold;
  });
}

std::optional<pid_t> PendingConnect::answer(int os_error) {
  std::optional<pid_t> told;
  for (const Caller& caller : std::exchange(callers_, {})) {
    const bool arrived =
        os_error == 0 ? calls_.finish(caller.call, 0) : calls_.fail(caller.call, os_error);
    if (arrived) told = caller.thread;
  }
  return told;
}

}  // namespace shunt
