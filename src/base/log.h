// SPDX-License-Identifier: GPL-2.0-only
// What shunt says of itself on stderr (not of the traffic: that is observe/). One write(2) a line,
// safe from any thread. A thing is logged once, by its owner; functions that return an Error do
// not log it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace shunt {

enum class LogLevel : std::uint8_t { error, warning, info };

void log(LogLevel level, std::string_view line);

/// Lets through at most limits::kRepeatedWarningsPerSecond lines a second and then says how many
/// were left out. One object for each thing that can repeat; safe from any thread.
class RateLimitedLog {
 public:
  void warn(std::string_view line);

 private:
  std::atomic<std::int64_t> window_second_ = 0;
  std::atomic<std::uint32_t> in_window_ = 0;
  std::atomic<std::uint32_t> left_out_ = 0;
};

}  // namespace shunt
