// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/namespace_members.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <charconv>
#include <cstring>
#include <memory>

namespace shunt {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

pid_t pid_of(const dirent& entry) {
  const char* name = static_cast<const char*>(entry.d_name);
  pid_t pid = 0;
  const auto parsed = std::from_chars(name, name + std::strlen(name), pid);
  return parsed.ec == std::errc{} && *parsed.ptr == '\0' ? pid : 0;
}

}  // namespace

void for_each_member(int netns, const std::function<bool(pid_t)>& visit) {
  struct stat wanted{};
  if (::fstat(netns, &wanted) != 0) return;
  const std::unique_ptr<DIR, CloseDirectory> proc(::opendir("/proc"));
  if (proc == nullptr) return;
  while (const dirent* entry = ::readdir(proc.get())) {
    const pid_t pid = pid_of(*entry);
    if (pid == 0) continue;
    struct stat found{};
    const auto path = fmt::format("{}/ns/net", pid);
    if (::fstatat(::dirfd(proc.get()), path.c_str(), &found, 0) != 0) continue;
    if (found.st_ino == wanted.st_ino && found.st_dev == wanted.st_dev && !visit(pid)) return;
  }
}

bool has_members(int netns, pid_t except) {
  bool found = false;
  for_each_member(netns, [&](pid_t pid) {
    found = pid != except;
    return !found;
  });
  return found;
}

}  // namespace shunt
