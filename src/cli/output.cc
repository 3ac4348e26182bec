// SPDX-License-Identifier: GPL-2.0-only
#include "cli/output.h"

#include <unistd.h>

#include <cerrno>

namespace shunt::cli {
namespace {

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

Result<void> print(std::string_view text) {
  if (write_all(STDOUT_FILENO, text)) return {};
  return Failure(errno_error("writing to standard output"));
}

void print_error(std::string_view text) { write_all(STDERR_FILENO, text); }

}  // namespace shunt::cli
