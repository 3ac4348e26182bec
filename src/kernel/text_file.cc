// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/text_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/limits.h"
#include "net/unique_fd.h"

namespace shunt {

Result<std::string> read_text_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Failure(errno_error(fmt::format("open {}", path)));
  std::string text;
  std::array<char, 4096> chunk{};
  while (true) {
    const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failure(errno_error(fmt::format("read {}", path)));
    if (got == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    if (text.size() > limits::kTextFileBytes) {
      return Failure(errno_error(fmt::format("read {}", path), EFBIG));
    }
  }
}

Result<void> write_text_file(const std::string& path, std::string_view text, int flags,
                             mode_t mode) {
  const UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd.valid()) return Failure(errno_error(fmt::format("open {}", path)));
  const ssize_t written = ::write(fd.get(), text.data(), text.size());
  if (written < 0) return Failure(errno_error(fmt::format("write {}", path)));
  if (static_cast<std::size_t>(written) != text.size()) {
    return Failure(errno_error(fmt::format("write {}", path), ENOSPC));
  }
  return {};
}

}  // namespace shunt
