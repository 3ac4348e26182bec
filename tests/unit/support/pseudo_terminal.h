// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>

#include "net/unique_fd.h"

namespace shunt::test {

/// A terminal of the test's own, in the mode that a shell leaves it in.
class PseudoTerminal {
 public:
  PseudoTerminal() : screen_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    std::array<char, 64> name{};
    if (!screen_.valid() || ::grantpt(screen_.get()) != 0 || ::unlockpt(screen_.get()) != 0 ||
        ::ptsname_r(screen_.get(), name.data(), name.size()) != 0) {
      return;
    }
    fd_ = UniqueFd(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  [[nodiscard]] bool valid() const { return fd_.valid(); }
  /// What a program writes to.
  [[nodiscard]] int fd() const { return fd_.get(); }

  /// As an editor does it.
  void make_raw() const {
    termios mode{};
    ::tcgetattr(fd_.get(), &mode);
    ::cfmakeraw(&mode);
    ::tcsetattr(fd_.get(), TCSANOW, &mode);
  }

  /// All that reaches the screen until it ends in `end`, or nothing comes for ten seconds.
  [[nodiscard]] std::string shown_until(std::string_view end) const {
    std::string all;
    std::array<char, 4096> buffer{};
    pollfd readable{.fd = screen_.get(), .events = POLLIN, .revents = 0};
    while (!all.ends_with(end) && ::poll(&readable, 1, 10'000) == 1) {
      const auto got = ::read(screen_.get(), buffer.data(), buffer.size());
      if (got <= 0) break;
      all.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return all;
  }

 private:
  UniqueFd screen_;
  UniqueFd fd_;
};

}  // namespace shunt::test
