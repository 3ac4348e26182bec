// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/call_tracer.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <optional>

#include "base/error_numbers.h"
#include "kernel/foreign_process.h"
#include "kernel/syscall_filter.h"
#include "kernel/traced_registers.h"
#include "kernel/trap_filter.h"
#include "net/fd_passing.h"

namespace shunt {
namespace {

using std::chrono::milliseconds;

constexpr int kPatienceMs = 10'000;
constexpr int kLooks = 8;

/// A child whose calls are traced, and which says numbers.
class TracedChild {
 public:
  explicit TracedChild(const std::function<void(int)>& life) {
    auto ends = *make_record_channel();
    ours_ = std::move(ends.first);
    pid_ = ::fork();
    if (pid_ == 0) {
      char go = 0;
      allow_tracing(::getppid());
      if (::read(ends.second.get(), &go, 1) != 1 || !trace_network_calls()) ::_exit(1);
      life(ends.second.get());
      ::_exit(0);
    }
    pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  TracedChild(const TracedChild&) = delete;
  TracedChild& operator=(const TracedChild&) = delete;
  ~TracedChild() {
    kill(SIGKILL);
    ::waitpid(pid_, nullptr, 0);  // ECHILD where the tracer has done that
  }

  void go() const { EXPECT_EQ(::write(ours_.get(), "g", 1), 1); }
  void kill(int number) const {
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Its next word; -1: none came.
  [[nodiscard]] int word() const {
    pollfd said{.fd = ours_.get(), .events = POLLIN, .revents = 0};
    int number = -1;
    if (::poll(&said, 1, kPatienceMs) <= 0) return -1;
    return ::read(ours_.get(), &number, sizeof number) == sizeof number ? number : -1;
  }

 private:
  pid_t pid_ = 0;
  UniqueFd ours_;
  UniqueFd pidfd_;
};

void say(int channel, int number) {
  if (::write(channel, &number, sizeof number) != sizeof number) ::_exit(1);
}

int connect_nowhere() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in nowhere{};
  nowhere.sin_family = AF_INET;
  nowhere.sin_port = htons(1);
  nowhere.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int done = ::connect(socket, reinterpret_cast<sockaddr*>(&nowhere), sizeof nowhere);
  const int error = done == 0 ? 0 : errno;
  ::close(socket);
  return error;
}

void handle_usr1(int flags) {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  action.sa_flags = flags;
  ::sigaction(SIGUSR1, &action, nullptr);
}

class CallTracerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_be_restricted()) GTEST_SKIP() << "needs unsanitized";
    if (!kKnowsRegisters) GTEST_SKIP() << "needs x86-64";
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGCHLD);
    ::pthread_sigmask(SIG_BLOCK, &one, &before_);
    tracer_ = *CallTracer::create();
  }
  void TearDown() override {
    tracer_.reset();
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  std::optional<TrappedCall> next_call() {
    if (const auto call = tracer_->receive()) return call;
    pollfd calls{.fd = tracer_->fd(), .events = POLLIN, .revents = 0};
    return ::poll(&calls, 1, kPatienceMs) > 0 ? tracer_->receive() : std::nullopt;
  }
  void trace(const TracedChild& child) {
    const auto taken = tracer_->take_over(child.pid(), -1);
    ASSERT_TRUE(taken) << taken.error().text();
    child.go();
  }

  sigset_t before_{};
  std::unique_ptr<CallTracer> tracer_;
};

TEST(CallTracer, traps_a_childs_call_and_answers_it) {
  if (!can_be_restricted()) GTEST_SKIP() << "needs unsanitized";
  const auto tried = probe_call_tracer();
  EXPECT_TRUE(tried) << tried.error().text();
}

TEST_F(CallTracerTest, answers_are_results_errors_or_the_kernels) {
  const TracedChild child([](int parent) {
    for (int i = 0; i < 3; ++i) say(parent, connect_nowhere());
  });
  trace(child);
  auto call = next_call();
  ASSERT_TRUE(call);
  EXPECT_EQ(call->number, SYS_connect);
  EXPECT_TRUE(tracer_->waits(call->id));
  const auto asked = read_value<sockaddr_in>(call->thread, call->arguments[1]);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->sin_port, htons(1));
  EXPECT_TRUE(tracer_->finish(call->id, 0));
  EXPECT_EQ(child.word(), 0);
  EXPECT_FALSE(tracer_->waits(call->id));
  call = next_call();
  ASSERT_TRUE(call);
  EXPECT_TRUE(tracer_->fail(call->id, EHOSTUNREACH));
  EXPECT_EQ(child.word(), EHOSTUNREACH);
  call = next_call();
  ASSERT_TRUE(call);
  EXPECT_TRUE(tracer_->let_run(call->id));
  EXPECT_EQ(child.word(), ECONNREFUSED);  // nobody listens at port 1
}

TEST_F(CallTracerTest, a_signal_calls_a_program_away) {
  const TracedChild child([](int parent) {
    handle_usr1(0);
    say(parent, connect_nowhere());
  });
  trace(child);
  const auto call = next_call();
  ASSERT_TRUE(call);
  child.kill(SIGUSR1);
  EXPECT_EQ(child.word(), EINTR);
  EXPECT_FALSE(tracer_->waits(call->id));
  EXPECT_FALSE(tracer_->finish(call->id, 0));
}

TEST_F(CallTracerTest, a_signal_whose_handler_restarts_brings_the_call_once_more) {
  const TracedChild child([](int parent) {
    handle_usr1(SA_RESTART);
    say(parent, connect_nowhere());
  });
  trace(child);
  const auto first = next_call();
  ASSERT_TRUE(first);
  child.kill(SIGUSR1);
  const auto again = next_call();
  ASSERT_TRUE(again);
  EXPECT_NE(again->id, first->id);
  EXPECT_EQ(again->arguments, first->arguments);
  EXPECT_FALSE(tracer_->waits(first->id));
  EXPECT_TRUE(tracer_->fail(again->id, ETIMEDOUT));
  EXPECT_EQ(child.word(), ETIMEDOUT);
}

/// recvfrom() of a socket that nothing comes to.
int receive_within(timeval timeout, int socket_flags) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | socket_flags, 0);
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  sockaddr_storage source{};
  socklen_t size = sizeof source;
  char byte = 0;
  const auto got = ::recvfrom(socket, &byte, 1, 0, reinterpret_cast<sockaddr*>(&source), &size);
  return got >= 0 ? 0 : errno;
}

// signal(7): sockets with a timeout.
TEST_F(CallTracerTest, a_wait_that_has_an_end_is_not_begun_anew) {
  const TracedChild child([](int parent) {
    handle_usr1(SA_RESTART);
    say(parent, receive_within({.tv_sec = 600, .tv_usec = 0}, 0));
  });
  trace(child);
  ASSERT_TRUE(next_call());
  child.kill(SIGUSR1);
  EXPECT_EQ(child.word(), EINTR);
}

TEST_F(CallTracerTest, what_does_not_wait_is_done_once_more_whatever_its_timeout) {
  const TracedChild child([](int parent) {
    handle_usr1(SA_RESTART);
    say(parent, receive_within({.tv_sec = 600, .tv_usec = 0}, SOCK_NONBLOCK));
  });
  trace(child);
  ASSERT_TRUE(next_call());
  child.kill(SIGUSR1);
  const auto again = next_call();
  ASSERT_TRUE(again);
  EXPECT_TRUE(tracer_->fail(again->id, EAGAIN));
  EXPECT_EQ(child.word(), EAGAIN);
}

// Without a tracer nothing would be sent.
TEST_F(CallTracerTest, a_signal_that_is_ignored_leaves_the_call_alone) {
  const TracedChild child([](int parent) {
    ::signal(SIGUSR1, SIG_IGN);
    say(parent, receive_within({.tv_sec = 600, .tv_usec = 0}, 0));
  });
  trace(child);
  const auto call = next_call();
  ASSERT_TRUE(call);
  EXPECT_FALSE(tracer_->receive());
  child.kill(SIGUSR1);
  child.kill(SIGURG);
  pollfd another{.fd = tracer_->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&another, 1, 200), 0);  // four looks at its signals
  EXPECT_TRUE(tracer_->waits(call->id));
  EXPECT_TRUE(tracer_->finish(call->id, 0));
  EXPECT_EQ(child.word(), 0);
}

TEST_F(CallTracerTest, other_calls_do_not_put_off_the_look_at_signals) {
  const TracedChild child([](int parent) {
    const pid_t waiting = ::fork();
    if (waiting == 0) {
      handle_usr1(0);
      for (int i = 0; i < kLooks; ++i) say(parent, connect_nowhere());
      ::_exit(0);
    }
    say(parent, waiting);
    for (int i = 0; i < 2 * kLooks; ++i) {
      char go = 0;
      if (::read(parent, &go, 1) != 1) ::_exit(1);
      (void)connect_nowhere();
    }
    ::waitpid(waiting, nullptr, 0);
  });
  trace(child);
  const pid_t waiting = child.word();
  ASSERT_GT(waiting, 0);
  auto soonest = milliseconds::max();
  for (int i = 0; i < kLooks; ++i) {  // one may come late for the machine's sake
    ASSERT_TRUE(next_call());
    child.go();
    auto other = next_call();  // after which its signals were looked at
    ASSERT_TRUE(other);
    EXPECT_TRUE(tracer_->finish(other->id, 0));
    const auto begun = std::chrono::steady_clock::now();
    ::kill(waiting, SIGUSR1);
    ::poll(nullptr, 0, 30);  // so much of the time until the next look is over
    child.go();
    other = next_call();
    ASSERT_TRUE(other);
    EXPECT_EQ(child.word(), EINTR);
    soonest = std::min(soonest, std::chrono::duration_cast<milliseconds>(
                                    std::chrono::steady_clock::now() - begun));
    EXPECT_TRUE(tracer_->finish(other->id, 0));
  }
  EXPECT_LT(soonest, milliseconds(70));  // 80 where each call begins the 50 anew
}

// So that doctor and users are told of the method that they asked for.
TEST(CallTracer, says_the_number_of_its_own_where_its_filter_is_refused) {
  if (!can_be_restricted()) GTEST_SKIP() << "needs unsanitized";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    TrapFilter filter;
    filter.rule(SCMP_ACT_ERRNO(EPERM), "seccomp");
    filter.rule(SCMP_ACT_ERRNO(EPERM), "prctl", {int_argument(0, PR_SET_SECCOMP)});
    if (!filter.load()) ::_exit(0);
    const auto refused = trace_network_calls();
    ::_exit(refused ? 1 : refused.error().number);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), error_number::kNoCallTracer);
}

TEST_F(CallTracerTest, a_signal_that_is_blocked_leaves_the_call_alone) {
  const TracedChild child([](int parent) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    ::sigprocmask(SIG_BLOCK, &one, nullptr);
    ::raise(SIGUSR1);
    say(parent, connect_nowhere());
  });
  trace(child);
  const auto call = next_call();
  ASSERT_TRUE(call);
  EXPECT_FALSE(tracer_->receive());
  pollfd another{.fd = tracer_->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&another, 1, 200), 0);  // four looks at its signals
  EXPECT_TRUE(tracer_->finish(call->id, 0));
  EXPECT_EQ(child.word(), 0);
}

TEST_F(CallTracerTest, without_its_tracer_a_program_goes_on_and_its_calls_fail) {
  const TracedChild child([](int parent) {
    say(parent, connect_nowhere());
    say(parent, connect_nowhere());
  });
  trace(child);
  ASSERT_TRUE(next_call());
  tracer_.reset();
  EXPECT_EQ(child.word(), ENOSYS);
  EXPECT_EQ(child.word(), ENOSYS);
}

TEST_F(CallTracerTest, children_of_any_kind_are_traced) {
  const TracedChild child([](int parent) {
    for (const auto fork : {&::fork, &::vfork}) {
      const pid_t grandchild = fork();
      if (grandchild == 0) {
        say(parent, connect_nowhere());
        ::_exit(0);
      }
      ::waitpid(grandchild, nullptr, 0);
    }
  });
  trace(child);
  for (int i = 0; i < 2; ++i) {
    const auto call = next_call();
    ASSERT_TRUE(call);
    EXPECT_NE(call->thread, child.pid());
    EXPECT_TRUE(tracer_->fail(call->id, ENETDOWN));
    EXPECT_EQ(child.word(), ENETDOWN);
  }
}

TEST_F(CallTracerTest, when_nobody_is_left_it_hangs_up) {
  const TracedChild child([](int parent) { say(parent, 1); });
  EXPECT_FALSE(tracer_->abandoned());
  trace(child);
  EXPECT_EQ(child.word(), 1);
  pollfd calls{.fd = tracer_->fd(), .events = 0, .revents = 0};
  EXPECT_EQ(::poll(&calls, 1, kPatienceMs), 1);
  EXPECT_TRUE(tracer_->abandoned());
}

TEST_F(CallTracerTest, who_cannot_be_traced_is_an_error) {
  const auto taken = tracer_->take_over(::getpid(), -1);  // no thread traces its own process
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().os_error, EPERM);
}

}  // namespace
}  // namespace shunt
