// SPDX-License-Identifier: GPL-2.0-only
#include "observe/log_queue.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

#include "base/counters.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/terminal.h"
#include "base/thread_signals.h"

namespace shunt {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kGatherTime{10};
constexpr std::size_t kWriteBytes = 64 * 1024;
constexpr std::uint32_t kLastStopMs = 200;

std::size_t cost(const LogLine& line) {
  return sizeof line + line.text.size() + line.name.size() + line.note.size() + line.via.size();
}

/// False when it cannot be written. SIGPIPE is blocked in the log's thread.
bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // somebody who shares the description made it non-blocking
      pollfd wait = {.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

}  // namespace

/// Shared with the thread, so that one which hangs in write(2) can be left behind.
struct LogQueue::State {
  State(int to, std::unique_ptr<LineLayout> with, bool gather_lines)
      : fd(to), layout(std::move(with)), gather(gather_lines) {}

  void run();
  bool take(std::vector<LogLine>& batch, std::uint64_t& missed);
  void write(std::vector<LogLine>& batch, std::uint64_t missed);
  bool put(std::string& out);

  const int fd;
  const std::unique_ptr<LineLayout> layout;  // of the thread alone
  const bool gather;
  bool failing = false;  // of the thread alone: the last write failed, and it was said

  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable written;
  std::vector<LogLine> lines;
  std::size_t bytes = 0;
  std::uint64_t dropped = 0;
  std::uint64_t pushed_total = 0;
  std::uint64_t written_total = 0;
  int flushing = 0;
  bool sleeping = false;
  bool stopping = false;
  bool abandoned = false;
  bool ended = false;
};

void LogQueue::State::run() {
  std::vector<LogLine> batch;
  std::uint64_t missed = 0;
  while (take(batch, missed)) {
    const std::size_t taken = batch.size();
    write(batch, missed);
    const std::lock_guard lock(mutex);
    written_total += taken;
    written.notify_all();
    if (abandoned) break;
  }
  const std::lock_guard lock(mutex);
  ended = true;
  written.notify_all();
}

/// Waits for lines, or for the layout's own time; false when all is written and it is to stop.
bool LogQueue::State::take(std::vector<LogLine>& batch, std::uint64_t& missed) {
  std::unique_lock lock(mutex);
  const auto called = [this] { return !lines.empty() || stopping; };
  sleeping = true;
  if (const auto due = layout->due()) {
    wake.wait_until(lock, *due, called);
  } else {
    wake.wait(lock, called);
  }
  sleeping = false;
  if (gather && !stopping && flushing == 0) {
    wake.wait_for(lock, kGatherTime, [this] { return stopping || flushing != 0; });
  }
  batch.clear();
  batch.swap(lines);
  bytes = 0;
  missed = std::exchange(dropped, 0);
  return !batch.empty() || missed != 0 || !stopping;
}

void LogQueue::State::write(std::vector<LogLine>& batch, std::uint64_t missed) {
  std::string out;
  for (LogLine& line : batch) {
    layout->append(std::move(line), out);
    if (out.size() >= kWriteBytes && !put(out)) return;
  }
  layout->append_due(Clock::now(), out);
  if (missed != 0) layout->append_dropped(missed, out);
  put(out);
}

/// A full disk may have room again, so each write is tried; the reason is said once. False when
/// the thread was left behind meanwhile.
bool LogQueue::State::put(std::string& out) {
  const bool wrote = write_all(fd, with_line_ends_for(fd, out));
  if (!wrote) {
    count(Counter::log_lines_dropped, static_cast<std::uint64_t>(std::ranges::count(out, '\n')));
    if (!failing) log(LogLevel::warning, errno_error("writing the traffic log").text());
  }
  failing = !wrote;
  out.clear();
  const std::lock_guard lock(mutex);
  return !abandoned;
}

LogQueue::LogQueue(int fd, std::unique_ptr<LineLayout> layout, bool gather)
    : state_(std::make_shared<State>(fd, std::move(layout), gather)) {
  // The new thread takes no signals; a broken pipe answers EPIPE there instead of killing us.
  const sigset_t all = signals_for_main_thread();
  sigset_t before;
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([state = state_] { state->run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

LogQueue::~LogQueue() { stop(kLastStopMs); }

void LogQueue::push(LogLine line) {
  const std::size_t size = cost(line);
  bool wake = false;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopping || state_->lines.size() >= limits::kLogQueueLines ||
        state_->bytes + size > limits::kLogQueueBytes) {
      if (!state_->stopping) ++state_->dropped;
      count(Counter::log_lines_dropped);
      return;
    }
    state_->lines.push_back(std::move(line));
    state_->bytes += size;
    ++state_->pushed_total;
    wake = std::exchange(state_->sleeping, false);
  }
  if (wake) state_->wake.notify_one();
}

bool LogQueue::flush(std::uint32_t timeout_ms) {
  std::unique_lock lock(state_->mutex);
  const std::uint64_t until = state_->pushed_total;
  ++state_->flushing;
  state_->wake.notify_one();
  const bool done = state_->written.wait_for(lock, milliseconds(timeout_ms), [&] {
    return state_->written_total >= until || state_->ended;
  });
  --state_->flushing;
  return done;
}

bool LogQueue::stop(std::uint32_t timeout_ms) {
  if (!thread_.joinable()) return true;
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->wake.notify_one();
  const bool ended =
      state_->written.wait_for(lock, milliseconds(timeout_ms), [&] { return state_->ended; });
  state_->abandoned = !ended;
  lock.unlock();
  if (ended) {
    thread_.join();
  } else {
    thread_.detach();
  }
  return ended;
}

}  // namespace shunt
