// SPDX-License-Identifier: GPL-2.0-only
// The steps of every command; the commands themselves are tables in cli/.
#include <fcntl.h>
#include <unistd.h>

#include <span>
#include <string_view>
#include <vector>

#include "cli/commands.h"

namespace {

/// A standard stream that the caller closed would leave its number to the first file that shunt
/// opens, and a diagnostic would then be written into a connection. Close-on-exec, so that a
/// command started by `shunt run` finds the stream closed, as it would have without shunt.
void occupy_standard_streams() {
  while (true) {
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    if (fd > STDERR_FILENO) {
      ::close(fd);
      return;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  // First, before anything can open a file.
  occupy_standard_streams();
  // A caller may pass no name at all; what follows it is the command line.
  const std::vector<std::string_view> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return shunt::cli::run_command_line(arguments);
}
