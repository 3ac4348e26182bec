// SPDX-License-Identifier: GPL-2.0-only
#include "cli/process_title.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "net/unique_fd.h"

namespace shunt::cli {
namespace {

// The kernel shows the memory that execve() laid the arguments out in (proc_pid_cmdline(5)); its
// size is that of the file.
std::size_t command_line_size() {
  const UniqueFd fd(::open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return 0;
  std::array<char, 4096> buffer{};
  std::size_t size = 0;
  ssize_t got = 0;
  while ((got = ::read(fd.get(), buffer.data(), buffer.size())) > 0) {
    size += static_cast<std::size_t>(got);
  }
  return size;
}

}  // namespace

void set_process_title(std::string_view title) {
  const std::string name(title.substr(0, 15));
  ::prctl(PR_SET_NAME, name.c_str());
  char* const start = ::program_invocation_name;  // argv[0]
  const std::size_t size = command_line_size();
  if (start == nullptr || size < 2) return;
  std::memset(start, 0, size);
  std::memcpy(start, title.data(), std::min(title.size(), size - 1));
}

}  // namespace shunt::cli
