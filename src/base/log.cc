// SPDX-License-Identifier: GPL-2.0-only
#include "base/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <ctime>
#include <string>

#include "base/limits.h"
#include "base/terminal.h"

namespace shunt {
namespace {

std::string_view prefix(LogLevel level) {
  switch (level) {
    case LogLevel::error: return "error: ";
    case LogLevel::warning: return "warning: ";
    case LogLevel::info: return "";
  }
  return "";
}

}  // namespace

void log(LogLevel level, std::string_view line) {
  const std::string text =
      with_line_ends_for(STDERR_FILENO, fmt::format("shunt: {}{}\n", prefix(level), line));
  [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, text.data(), text.size());
}

void RateLimitedLog::warn(std::string_view line) {
  const std::int64_t now = ::time(nullptr);
  if (window_second_.exchange(now) != now) {
    in_window_.store(0);
    if (const auto missed = left_out_.exchange(0); missed != 0) {
      log(LogLevel::warning, fmt::format("({} similar lines left out)", missed));
    }
  }
  if (in_window_.fetch_add(1) < limits::kRepeatedWarningsPerSecond) {
    log(LogLevel::warning, line);
  } else {
    left_out_.fetch_add(1);
  }
}

}  // namespace shunt
