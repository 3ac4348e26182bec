// SPDX-License-Identifier: GPL-2.0-only
#include "base/terminal.h"

#include <termios.h>

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

}  // namespace shunt
