// SPDX-License-Identifier: GPL-2.0-only
// Signals are the main thread's business; others block all of them but those that a thread brings
// upon itself: one of these, when it is blocked, ends the process without asking its handler.
#pragma once

#include <csignal>

namespace shunt {

inline sigset_t signals_for_main_thread() {
  sigset_t signals;
  sigfillset(&signals);
  for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS}) sigdelset(&signals, fault);
  return signals;
}

}  // namespace shunt
