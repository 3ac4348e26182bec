// SPDX-License-Identifier: GPL-2.0-only
#include "base/terminal.h"

#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>
#include <utility>

namespace shunt {
namespace {

/// True also for what is no terminal.
bool needs_no_carriage_returns(int fd) {
  constexpr tcflag_t kTranslates = OPOST | ONLCR;  // termios(3)
  termios mode{};
  return ::tcgetattr(fd, &mode) != 0 || (mode.c_oflag & kTranslates) == kTranslates;
}

}  // namespace

std::string with_line_ends_for(int fd, std::string text) {
  if (text.empty() || needs_no_carriage_returns(fd)) return text;
  std::string out;
  out.reserve(text.size() + text.size() / 32);
  for (const char byte : text) {
    if (byte == '\n') out += '\r';
    out += byte;
  }
  return out;
}

bool wants_colour(int fd) {
  // Nothing of shunt changes the environment once there are threads.
  const char* no_color = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe)
  const char* term = std::getenv("TERM");          // NOLINT(concurrency-mt-unsafe)
  const bool refused = no_color != nullptr && *no_color != '\0';
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  return !refused && !dumb && ::isatty(fd) == 1;
}

}  // namespace shunt
