// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/state_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <sstream>
#include <thread>
#include <vector>

#include "kernel/netns.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

constexpr const char* kServiceDirectory = "/run/shunt";

/// The caller's uid as the parent of its user namespace knows it: mapped root is not root outside,
/// and the name in /tmp should tell users apart there.
uid_t outer_uid() {
  const uid_t inside = ::geteuid();
  std::istringstream lines(read_text_file("/proc/self/uid_map").value_or(""));
  unsigned long first = 0;
  unsigned long outside = 0;
  unsigned long count = 0;
  while (lines >> first >> outside >> count) {
    if (inside >= first && inside - first < count) {
      return static_cast<uid_t>(outside + (inside - first));
    }
  }
  return inside;
}

/// Ours, not a link, and written by nobody else: /tmp is for everybody.
Result<void> check_private(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0)
    return Failure(errno_error(fmt::format("stat {}", path)));
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 022) != 0) {
    return Failure(
        make_error(Kind::runtime, fmt::format("{} is not a folder of ours alone", path)));
  }
  if (::access(path.c_str(), R_OK | W_OK | X_OK) != 0) {
    return Failure(errno_error(fmt::format("write to {}", path)));
  }
  return {};
}

Result<void> make_private(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return Failure(errno_error(fmt::format("make {}", path)));
  }
  return check_private(path);
}

/// What SHUNT_RUN_DIR says, else "".
std::string forced_directory() {
  const char* forced = ::secure_getenv("SHUNT_RUN_DIR");
  return forced == nullptr ? "" : forced;
}

std::vector<std::string> candidates() {
  if (auto forced = forced_directory(); !forced.empty()) return {forced};
  std::vector<std::string> paths;
  if (::geteuid() == 0) paths.emplace_back(kServiceDirectory);
  if (const char* runtime = ::secure_getenv("XDG_RUNTIME_DIR"); runtime && *runtime == '/') {
    paths.push_back(fmt::format("{}/shunt", runtime));
  }
  paths.push_back(fmt::format("/tmp/shunt-{}", outer_uid()));
  return paths;
}

}  // namespace

Result<std::string> run_directory() {
  std::string tried;
  for (const auto& path : candidates()) {
    // Readable by all where root keeps it, so that `ls /run/shunt` explains itself; the records are
    // not: who may lock one could keep it alive.
    auto made = make_private(path, path == kServiceDirectory ? 0755 : 0700);
    if (made) return path;
    tried += fmt::format("{}{}", tried.empty() ? "" : "; ", made.error().text());
  }
  return Failure(make_error(Kind::runtime, fmt::format("no folder for shunt's records: {}", tried),
                            "set SHUNT_RUN_DIR to a folder of your own"));
}

std::string existing_run_directory() {
  for (auto& path : candidates()) {
    if (check_private(path)) return path;
  }
  return {};
}

std::vector<std::string> readable_run_directories() {
  std::vector<std::string> found;
  if (auto own = existing_run_directory(); !own.empty()) found.push_back(std::move(own));
  struct stat status{};
  const bool services = ::geteuid() == 0 && forced_directory().empty() &&
                        ::lstat(kServiceDirectory, &status) == 0 && S_ISDIR(status.st_mode);
  if (services && std::ranges::find(found, kServiceDirectory) == found.end()) {
    found.emplace_back(kServiceDirectory);
  }
  return found;
}

Result<std::string> namespace_directory(std::string_view run) {
  const auto boot = SHUNT_TRY(read_text_file("/proc/sys/kernel/random/boot_id"));
  const auto id = SHUNT_TRY(network_namespace_id());
  return fmt::format("{}/{}-{}", run, boot.substr(0, 8), id);
}

Result<bool> try_lock(int fd) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return Failure(errno_error("lock a record"));
}

Result<StateLock> StateLock::take(std::string_view run) {
  const auto path = fmt::format("{}/lock", run);
  HeldFd fd(UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)));
  if (!fd.valid()) return Failure(errno_error(fmt::format("open {}", path)));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kWaitMs);
  while (!SHUNT_TRY(try_lock(fd.get()))) {
    if (std::chrono::steady_clock::now() > deadline) {
      return Failure(make_error(Kind::conflict, fmt::format("another shunt holds {}", path),
                                fmt::format("fuser {} tells which process it is", path)));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return StateLock(std::move(fd));
}

}  // namespace shunt
