// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/sysctl.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>

#include "kernel/text_file.h"

namespace shunt {

Result<std::string> read_sysctl(std::string_view path) {
  auto text = SHUNT_TRY(read_text_file(fmt::format("/proc/sys/{}", path)));
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

Result<void> write_sysctl(std::string_view path, std::string_view value) {
  auto written = write_text_file(fmt::format("/proc/sys/{}", path), value, O_WRONLY);
  if (written) return written;
  Error error = std::move(written).error();
  error.message = fmt::format("sysctl -w {}={}", sysctl_name(path), value);
  if (error.os_error == EROFS) error.help = "/proc/sys is read-only here: set it outside";
  return Failure(std::move(error));
}

std::string sysctl_name(std::string_view path) {
  std::string name(path);
  for (char& letter : name) {
    if (letter == '/') {
      letter = '.';
    } else if (letter == '.') {
      letter = '/';
    }
  }
  return name;
}

}  // namespace shunt
