// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/namespace_members.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>
#include <vector>

#include "base/limits.h"
#include "kernel/directory.h"
#include "kernel/text_file.h"
#include "net/unique_fd.h"

namespace shunt {
namespace {

pid_t pid_of(const char* name) {
  pid_t pid = 0;
  const auto parsed = std::from_chars(name, name + std::strlen(name), pid);
  return parsed.ec == std::errc{} && *parsed.ptr == '\0' ? pid : 0;
}

// proc_pid_task_tid_children(5): the pids, separated by blanks. Each thread has its own.
void add_children(const std::string& path, std::vector<pid_t>& found) {
  const auto text = read_text_file(path);
  if (!text) return;  // it has ended
  const char* const end = text->data() + text->size();
  for (const char* at = text->data(); at < end;) {
    pid_t pid = 0;
    const auto parsed = std::from_chars(at, end, pid);
    if (parsed.ec != std::errc{}) return;
    found.push_back(pid);
    at = parsed.ptr + 1;
  }
}

}  // namespace

void for_each_process(const std::function<void(pid_t)>& visit) {
  Directory proc("/proc");
  while (const char* name = proc.next()) {
    if (const pid_t pid = pid_of(name); pid != 0) visit(pid);
  }
}

void for_each_descendant(pid_t pid, const std::function<void(pid_t)>& visit) {
  std::vector<pid_t> found{pid};
  for (std::size_t next = 0; next < found.size() && next < limits::kDescendants; ++next) {
    const pid_t parent = found[next];
    visit(parent);
    const auto path = fmt::format("/proc/{}/task", parent);
    Directory tasks(path);
    while (const char* name = tasks.next()) {
      if (const pid_t thread = pid_of(name); thread != 0) {
        add_children(fmt::format("{}/{}/children", path, thread), found);
      }
    }
  }
}

void for_each_member(int netns, const std::function<bool(pid_t)>& visit) {
  struct stat wanted{};
  if (::fstat(netns, &wanted) != 0) return;
  Directory proc("/proc");
  while (const char* name = proc.next()) {
    const pid_t pid = pid_of(name);
    if (pid == 0) continue;
    struct stat found{};
    const auto path = fmt::format("{}/ns/net", pid);
    if (::fstatat(proc.fd(), path.c_str(), &found, 0) != 0) continue;
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
