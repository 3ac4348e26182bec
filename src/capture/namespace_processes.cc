// SPDX-License-Identifier: GPL-2.0-only
#include "capture/namespace_processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <string_view>

#include "base/limits.h"
#include "kernel/namespace_members.h"

namespace shunt {
namespace {

using std::chrono::steady_clock;

constexpr int kScanShare = 4;  // a scan that took a millisecond may come again in four

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

std::optional<std::uint32_t> socket_inode(int directory, const char* name) {
  constexpr std::string_view kPrefix = "socket:[";
  std::array<char, 64> link;
  const auto size = ::readlinkat(directory, name, link.data(), link.size());
  if (size <= 0) return std::nullopt;
  std::string_view text(link.data(), static_cast<std::size_t>(size));
  if (!text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  std::uint32_t inode = 0;
  std::from_chars(text.data(), text.data() + text.size(), inode);
  return inode;
}

void collect_sockets(pid_t pid, std::unordered_map<std::uint32_t, pid_t>& found) {
  const std::unique_ptr<DIR, CloseDirectory> fds(
      ::opendir(fmt::format("/proc/{}/fd", pid).c_str()));
  if (fds == nullptr) return;
  while (const dirent* entry = ::readdir(fds.get())) {
    if (found.size() >= limits::kNamedSockets) return;
    const auto inode = socket_inode(::dirfd(fds.get()), static_cast<const char*>(entry->d_name));
    if (!inode) continue;
    // Parent and child may share it: it is the parent that opened it.
    const auto [known, is_new] = found.try_emplace(*inode, pid);
    if (!is_new) known->second = std::min(known->second, pid);
  }
}

std::optional<ProcessInfo> describe(pid_t pid) {
  const UniqueFd fd(::open(fmt::format("/proc/{}/comm", pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  std::array<char, 64> name;
  const auto size = ::read(fd.get(), name.data(), name.size());
  if (size <= 0) return std::nullopt;
  std::string text(name.data(), static_cast<std::size_t>(size));
  if (text.back() == '\n') text.pop_back();
  return ProcessInfo{.name = std::move(text), .pid = pid};
}

}  // namespace

NamespaceProcesses::NamespaceProcesses(UniqueFd diag_socket, int netns, pid_t holder)
    : diag_(std::move(diag_socket)), netns_(netns), holder_(holder) {}

std::optional<ProcessInfo> NamespaceProcesses::lookup(const Flow& flow) {
  const auto owner = diag_.find(flow.protocol, flow.source, flow.original_destination);
  if (!owner) return std::nullopt;
  auto found = holders_.find(owner->inode);
  if (found == holders_.end() && steady_clock::now() >= next_scan_) {
    scan();
    found = holders_.find(owner->inode);
  }
  if (found != holders_.end()) return describe(found->second);
  return only_member_ ? describe(*only_member_) : std::nullopt;
}

void NamespaceProcesses::scan() {
  const auto start = steady_clock::now();
  holders_.clear();
  only_member_.reset();
  int members = 0;
  for_each_member(netns_, [&](pid_t pid) {
    if (pid == holder_) return true;
    only_member_ = ++members == 1 ? std::optional(pid) : std::nullopt;
    collect_sockets(pid, holders_);
    return true;
  });
  const auto end = steady_clock::now();
  next_scan_ = end + (end - start) * (kScanShare - 1);
}

}  // namespace shunt
