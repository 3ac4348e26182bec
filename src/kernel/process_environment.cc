// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/process_environment.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstring>
#include <string>

#include "kernel/directory.h"
#include "net/unique_fd.h"

namespace shunt {
namespace {

constexpr std::size_t kPiece = std::size_t{64} * 1024;

}  // namespace

// Each variable ends with a zero byte, and the first one has none before it.
bool process_has(pid_t process, std::string_view variable) {
  const UniqueFd fd(::open(fmt::format("/proc/{}/environ", process).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return false;
  const std::string wanted = '\0' + std::string(variable) + '\0';
  std::string text(1, '\0');
  std::array<char, kPiece> piece;
  while (true) {
    const auto got = ::read(fd.get(), piece.data(), piece.size());
    if (got <= 0) return false;
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (text.contains(wanted)) return true;
    if (text.size() > wanted.size()) text.erase(0, text.size() - wanted.size());
  }
}

bool any_process_has(std::string_view variable) {
  Directory proc("/proc");
  while (const char* name = proc.next()) {
    pid_t process = 0;
    const char* const end = name + std::strlen(name);
    const auto parsed = std::from_chars(name, end, process);
    if (parsed.ec != std::errc{} || parsed.ptr != end) continue;
    if (process_has(process, variable)) return true;
  }
  return false;
}

}  // namespace shunt
