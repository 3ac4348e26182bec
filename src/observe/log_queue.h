// SPDX-License-Identifier: GPL-2.0-only
// Between the workers and a terminal, pipe or file that may be slow. Workers push lines that are
// all but finished; one thread finishes and writes them. A full queue drops the line and counts
// it, so a terminal that was stopped with Ctrl-S stops nothing but the log.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "flow/flow.h"

namespace shunt {

/// One event. The texts are formatted and escaped by the worker.
struct LogLine {
  enum class Kind : std::uint8_t { start, request, response, tls, dns, end };
  Kind kind = Kind::start;
  Flow flow;  ///< its way_out is empty: the way out may be gone by the time of writing
  std::chrono::system_clock::time_point time;
  std::uint32_t request = 0;  ///< of a request or response: its number
  std::string text;
  std::string name;  ///< what the flow is called on its closing line, where this event tells
  std::string note;  ///< put behind the text when it does not stand next to what it belongs to
  std::string via;
};

/// Finishes lines, on the log's thread.
class LineLayout {
 public:
  virtual ~LineLayout() = default;
  /// Appends the event's line to `out`, or nothing.
  virtual void append(LogLine line, std::string& out) = 0;
  virtual void append_dropped(std::uint64_t lines, std::string& out) = 0;
  /// When it wants append_due() to be called, if ever.
  [[nodiscard]] virtual std::optional<Clock::time_point> due() { return {}; }
  virtual void append_due(Clock::time_point /*now*/, std::string& /*out*/) {}
};

class LogQueue {
 public:
  /// Writes to `fd`, which the caller keeps open. With `gather` the thread lets lines come together
  /// for a moment instead of being woken for each.
  LogQueue(int fd, std::unique_ptr<LineLayout> layout, bool gather);
  /// stop() with a short deadline.
  ~LogQueue();
  LogQueue(const LogQueue&) = delete;
  LogQueue& operator=(const LogQueue&) = delete;

  void push(LogLine line);  ///< any thread; never waits for the writing
  /// True when all that was pushed before is written, or dropped, in time.
  bool flush(std::uint32_t timeout_ms);
  /// Writes what is left, then ends the thread. When the reader does not take it in time the
  /// thread is left behind and touches nothing but its own state. Lines pushed later are dropped.
  bool stop(std::uint32_t timeout_ms);

  struct State;

 private:
  std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace shunt
