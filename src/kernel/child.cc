// SPDX-License-Identifier: GPL-2.0-only
// run_in_child() of kernel/netns.h: the answer crosses the pipe as '+' VALUE or '-' ERROR RECORD.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>

#include "base/error_record.h"
#include "base/limits.h"
#include "kernel/netns.h"

namespace shunt {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string encode(const Result<std::string>& result) {
  return result ? "+" + *result : "-" + error_record(result.error());
}

Result<std::string> decode(std::string_view text) {
  if (text.starts_with('+')) return std::string(text.substr(1));
  if (text.starts_with('-')) return Failure(error_from_record(text.substr(1)));
  return Failure(make_error(Kind::runtime, "the child process died without an answer"));
}

[[noreturn]] void run_child(int pipe, const std::function<Result<std::string>()>& work) {
  // The thread that forked waits for us, so its end is the parent's.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::string answer = encode(work());
  std::string_view left = answer;
  while (!left.empty()) {
    const ssize_t written = ::write(pipe, left.data(), left.size());
    if (written < 0 && errno != EINTR) break;
    if (written > 0) left.remove_prefix(static_cast<std::size_t>(written));
  }
  ::_exit(0);  // not exit(): the parent's atexit handlers and buffers are the parent's
}

Result<std::string> read_until_end(int pipe, steady_clock::time_point deadline) {
  std::string text;
  std::array<char, 4096> chunk{};
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now()).count();
    pollfd wait{.fd = pipe, .events = POLLIN, .revents = 0};
    const int ready = left <= 0 ? 0 : ::poll(&wait, 1, static_cast<int>(left));
    if (ready == 0) return Failure(errno_error("wait for the child process", ETIMEDOUT));
    if (ready < 0) {
      if (errno == EINTR) continue;
      return Failure(errno_error("wait for the child process"));
    }
    const ssize_t got = ::read(pipe, chunk.data(), chunk.size());
    if (got < 0 && errno != EINTR) return Failure(errno_error("read from the child process"));
    if (got == 0) return text;
    if (got > 0) text.append(chunk.data(), static_cast<std::size_t>(got));
    if (text.size() > limits::kTextFileBytes) {
      return Failure(errno_error("read from the child process", EFBIG));
    }
  }
}

void reap(pid_t child) {
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

Result<std::string> run_in_child(const std::function<Result<std::string>()>& work, int timeout_ms) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Failure(errno_error("make a pipe"));
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return Failure(errno_error("fork"));
  if (child == 0) run_child(writing.get(), work);
  writing.reset();
  auto answer = read_until_end(reading.get(), steady_clock::now() + milliseconds(timeout_ms));
  if (!answer) ::kill(child, SIGKILL);
  reap(child);
  if (!answer) return Failure(std::move(answer).error());
  return decode(*answer);
}

Result<std::string> run_in_throwaway_namespace(const std::function<Result<std::string>()>& work,
                                               int timeout_ms) {
  return run_in_child(
      [&]() -> Result<std::string> {
        SHUNT_CHECK(enter_network_namespace());
        return work();
      },
      timeout_ms);
}

}  // namespace shunt
