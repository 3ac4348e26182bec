// SPDX-License-Identifier: GPL-2.0-only
#include "cli/stop_signals.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <initializer_list>

namespace shunt::cli {
namespace {

/// Signals are the process's, so each case has a process of its own: 0 where `holds` says true.
template <class Holds>
int in_a_process(Holds holds) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(holds() ? 0 : 1);
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

bool is_readable(int fd) {
  pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&polled, 1, 0) == 1;
}

TEST(StopSignals, come_as_a_descriptor) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    EXPECT_EQ(in_a_process([number] {
                std::signal(number, SIG_DFL);
                const auto signals = StopSignals::create();
                if (!signals || is_readable(signals->fd()) || signals->take()) return false;
                ::kill(::getpid(), number);
                return is_readable(signals->fd()) && signals->take() && !signals->take();
              }),
              0)
        << number;
  }
}

// nohup(1) ignores SIGHUP; a shell without job control the SIGINT of its background.
TEST(StopSignals, that_the_caller_ignores_stay_ignored) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    EXPECT_EQ(in_a_process([number] {
                std::signal(number, SIG_IGN);
                const auto signals = StopSignals::create();
                if (!signals) return false;
                ::kill(::getpid(), number);
                return !is_readable(signals->fd()) && !signals->take();
              }),
              0)
        << number;
  }
}

TEST(StopSignals, a_second_interrupt_is_told_from_a_second_request_to_end) {
  EXPECT_EQ(in_a_process([] {
              const auto signals = StopSignals::create();
              if (!signals) return false;
              ::kill(::getpid(), SIGTERM);
              if (signals->interrupted_again()) return false;
              ::kill(::getpid(), SIGTERM);
              ::kill(::getpid(), SIGINT);
              return signals->interrupted_again() && !signals->interrupted_again();
            }),
            0);
}

}  // namespace
}  // namespace shunt::cli
