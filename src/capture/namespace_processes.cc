// SPDX-License-Identifier: GPL-2.0-only
#include "capture/namespace_processes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "base/limits.h"
#include "kernel/directory.h"
#include "kernel/namespace_members.h"
#include "kernel/process_facts.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

using std::chrono::steady_clock;

constexpr int kShare = 4;  // what took a millisecond may be done again in three

std::optional<std::uint32_t> socket_inode(int directory, const char* name) {
  constexpr std::string_view kPrefix = "socket:[";
  std::array<char, 64> link{};
  const auto size = ::readlinkat(directory, name, link.data(), link.size());
  if (size <= 0) return std::nullopt;
  std::string_view text(link.data(), static_cast<std::size_t>(size));
  if (!text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  std::uint32_t inode = 0;
  std::from_chars(text.data(), text.data() + text.size(), inode);
  return inode;
}

void add_sockets(pid_t pid, std::unordered_map<std::uint32_t, pid_t>& found) {
  Directory fds(fmt::format("/proc/{}/fd", pid));
  while (const char* name = fds.next()) {
    if (found.size() >= limits::kNamedSockets) return;
    const auto inode = socket_inode(fds.fd(), name);
    if (!inode) continue;
    // Parent and child may share it: it is the parent that opened it.
    const auto [known, is_new] = found.try_emplace(*inode, pid);
    if (!is_new) known->second = std::min(known->second, pid);
  }
}

std::optional<ProcessInfo> describe(pid_t pid) {
  auto name = read_text_file(fmt::format("/proc/{}/comm", pid));
  if (!name || name->empty()) return std::nullopt;
  if (name->back() == '\n') name->pop_back();
  return ProcessInfo{.name = *std::move(name), .pid = pid};
}

/// By the page faults of its children (proc_pid_stat(5): cminflt), which no process starts without.
/// True also when it is gone.
bool has_waited_for_a_child(pid_t pid) {
  constexpr int kFieldsBefore = 8;  // between the name, which may hold anything, and cminflt
  const auto line = read_text_file(fmt::format("/proc/{}/stat", pid));
  if (!line) return true;
  std::string_view rest = *line;
  rest.remove_prefix(std::min(rest.rfind(") "), rest.size()));
  for (int field = 0; field <= kFieldsBefore; ++field) {
    rest.remove_prefix(std::min(rest.find(' '), rest.size() - 1) + 1);
    if (rest.empty()) return true;
  }
  return !rest.starts_with("0 ");
}

}  // namespace

NamespaceProcesses::NamespaceProcesses(UniqueFd diag_socket, int netns, pid_t holder)
    : diag_(std::move(diag_socket)), netns_(netns), holder_(holder) {}

std::optional<ProcessInfo> NamespaceProcesses::lookup(const Flow& flow) {
  const auto pid = process_of(flow, Patience::little);
  return pid ? describe(*pid) : std::nullopt;
}

ProcessFact NamespaceProcesses::find(const Flow& flow, Wanted /*wanted*/) {
  const auto pid = process_of(flow, Patience::much);
  return pid ? process_facts(*pid) : ProcessFact{.state = FactState::never};
}

std::optional<pid_t> NamespaceProcesses::process_of(const Flow& flow, Patience patience) {
  const std::scoped_lock lock(mutex_);
  const auto owner = diag_.find(flow.protocol, flow.source, flow.original_destination);
  const auto pid = owner ? holder_of(owner->inode, patience) : std::nullopt;
  return pid ? pid : only_process();
}

/// Whose a flow must be that has no socket any more, or came between two scans: the command's, if
/// it never had a child.
std::optional<pid_t> NamespaceProcesses::only_process() const {
  const pid_t command = command_;
  if (command == 0 || has_waited_for_a_child(command)) return std::nullopt;
  int found = 0;
  for_each_descendant(command, [&found](pid_t) { ++found; });
  return found == 1 ? std::optional(command) : std::nullopt;
}

std::optional<pid_t> NamespaceProcesses::holder_of(std::uint32_t inode, Patience patience) {
  const auto known = [&]() -> std::optional<pid_t> {
    const auto found = sockets_.find(inode);
    return found == sockets_.end() ? std::nullopt : std::optional(found->second);
  };
  if (const auto pid = known()) return pid;
  if (command_ != 0) {
    descendants_.run(patience, [this] { scan_descendants(); });
    if (const auto pid = known()) return pid;
  }
  namespace_.run(patience, [this] { scan_namespace(); });
  return known();
}

void NamespaceProcesses::scan_descendants() {
  members_.clear();
  if (const pid_t command = command_; command != 0) {
    for_each_descendant(command, [this](pid_t pid) { members_.push_back(pid); });
  }
  collect_sockets();
}

void NamespaceProcesses::scan_namespace() {
  members_.clear();
  for_each_member(netns_, [this](pid_t pid) {
    if (pid != holder_) members_.push_back(pid);
    return true;
  });
  collect_sockets();
}

void NamespaceProcesses::collect_sockets() {
  sockets_.clear();
  for (const pid_t pid : members_) add_sockets(pid, sockets_);
}

template <class Work>
void NamespaceProcesses::Throttle::run(Patience patience, const Work& work) {
  const auto start = steady_clock::now();
  if (patience == Patience::little && start < next_) return;
  work();
  const auto end = steady_clock::now();
  next_ = end + (end - start) * (kShare - 1);
}

}  // namespace shunt
