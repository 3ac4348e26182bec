// SPDX-License-Identifier: GPL-2.0-only
// Puts console lines in order. Lines of many flows interleave, so a line says whose it is unless it
// stands right below another line of its flow, and a response repeats its request unless it stands
// right below that.
#pragma once

#include <deque>

#include "observe/flow_memos.h"
#include "observe/log_queue.h"

namespace shunt {

class ConsoleLayout final : public LineLayout {
 public:
  ConsoleLayout(bool colour, ProcessNames* names) : memos_(names), colour_(colour) {}

  void append(LogLine line, std::string& out) override;
  void append_dropped(std::uint64_t lines, std::string& out) override;
  /// A flow that nothing was said of within a second is announced as open.
  [[nodiscard]] std::optional<Clock::time_point> due() override;
  void append_due(Clock::time_point now, std::string& out) override;

 private:
  struct Silent {
    Flow flow;
    Clock::time_point due;
  };

  void append_prefix(const Flow& flow, std::chrono::system_clock::time_point time,
                     const FlowMemos::Memo& memo, std::string& out);
  void append_time(std::chrono::system_clock::time_point time, bool same_flow, std::string& out);
  void append_subject(const std::string& subject, bool blank, std::string& out);
  void append_end(const LogLine& line, const FlowMemos::Memo& memo, std::string& out) const;
  [[nodiscard]] std::string dim(const std::string& text) const;

  FlowMemos memos_;
  std::deque<Silent> silent_;
  std::optional<std::uint64_t> last_flow_;  // of the line above
  std::uint32_t last_request_ = 0;
  std::time_t last_second_ = 0;
  std::string last_time_;
  std::size_t subject_columns_ = 0;
  bool colour_;
};

}  // namespace shunt
