// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/process_facts.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <csignal>
#include <cstdint>
#include <optional>

#include "kernel/net_cls.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

constexpr std::size_t kIdBytes = 64;       // of a container, in hexadecimal
constexpr std::size_t kShortIdBytes = 12;  // as `docker ps` and `podman ps` show it

bool is_id(std::string_view text) {
  return text.size() == kIdBytes && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string_view without_ends(std::string_view text, std::string_view start, std::string_view end) {
  if (!text.starts_with(start) || !text.ends_with(end)) return {};
  if (text.size() < start.size() + end.size()) return {};
  return text.substr(start.size(), text.size() - start.size() - end.size());
}

/// "docker-ID.scope", "cri-containerd-ID.scope", or the bare ID below "docker" and "kubepods".
std::string_view id_in(std::string_view component) {
  if (is_id(component)) return component.substr(0, kShortIdBytes);
  std::string_view name = without_ends(component, "", ".scope");
  const std::size_t dash = name.rfind('-');
  if (dash == std::string_view::npos) return {};
  name.remove_prefix(dash + 1);
  return is_id(name) ? name.substr(0, kShortIdBytes) : std::string_view{};
}

std::string_view name_in(std::string_view component) {
  const std::string_view lxc = without_ends(component, "lxc.payload.", "");
  return lxc.empty() ? without_ends(component, "machine-", ".scope") : lxc;
}

template <class Number>
std::optional<Number> number_at(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} ? std::optional(number) : std::nullopt;
}

/// What follows a key and its tab in /proc/PID/status; "" where it is missing.
std::string_view field_of(std::string_view status, std::string_view key) {
  const std::size_t at = status.find(key);
  return at == std::string_view::npos ? "" : status.substr(at + key.size());
}

/// The number behind "Uid:\t1000\t": the effective one stands second (proc_pid_status(5)).
std::optional<std::uint32_t> effective_id(std::string_view status, std::string_view key) {
  const std::string_view field = field_of(status, key);
  const std::size_t at = field.find('\t');
  return at == std::string_view::npos ? std::nullopt
                                      : number_at<std::uint32_t>(field.substr(at + 1));
}

std::uint64_t signals_in(std::string_view status, std::string_view key) {
  const std::string_view field = field_of(status, key);
  std::uint64_t signals = 0;
  std::from_chars(field.data(), field.data() + field.size(), signals, 16);
  return signals;
}

std::optional<pid_t> process_in(std::string_view status) {
  return number_at<pid_t>(field_of(status, "\nTgid:\t"));
}

std::optional<std::string> name_of(pid_t pid) {
  auto name = read_text_file(fmt::format("/proc/{}/comm", pid));
  if (!name || name->empty()) return std::nullopt;
  if (name->back() == '\n') name->pop_back();
  return *std::move(name);
}

std::optional<std::string> status_of(pid_t pid) {
  auto status = read_text_file(fmt::format("/proc/{}/status", pid));
  return status ? std::optional(*std::move(status)) : std::nullopt;
}

std::optional<std::string> program_of(pid_t pid) {
  std::array<char, PATH_MAX> path{};
  const auto size = ::readlink(fmt::format("/proc/{}/exe", pid).c_str(), path.data(), path.size());
  if (size <= 0) return std::nullopt;
  std::string program(path.data(), static_cast<std::size_t>(size));
  constexpr std::string_view kDeleted = " (deleted)";  // replaced by an update while it runs
  if (program.ends_with(kDeleted)) program.resize(program.size() - kDeleted.size());
  return program;
}

/// All but the name, of a process or of a thread.
void fill_in(ProcessFact& fact, pid_t pid, const std::optional<std::string>& status) {
  if (status) {
    fact.uid = effective_id(*status, "\nUid:\t");
    fact.gid = effective_id(*status, "\nGid:\t");
  }
  fact.exe = program_of(pid);
  if (const auto cgroup = read_text_file(fmt::format("/proc/{}/cgroup", pid))) {
    fact.cgroup = cgroup_path(*cgroup);
    fact.classid = classid_in(*cgroup);
    fact.unit = unit_of(*fact.cgroup);
    fact.container = container_of(*fact.cgroup);
  }
}

}  // namespace

std::string_view cgroup_path(std::string_view proc_cgroup) {
  constexpr std::string_view kUnified = "0::";
  while (!proc_cgroup.empty()) {
    const std::string_view line = proc_cgroup.substr(0, proc_cgroup.find('\n'));
    if (line.starts_with(kUnified)) return line.substr(kUnified.size());
    proc_cgroup.remove_prefix(std::min(line.size() + 1, proc_cgroup.size()));
  }
  return {};
}

std::string_view unit_of(std::string_view cgroup) {
  while (!cgroup.empty()) {
    const std::size_t slash = cgroup.rfind('/');
    const std::string_view last = cgroup.substr(slash == std::string_view::npos ? 0 : slash + 1);
    if (last.ends_with(".service") || last.ends_with(".scope")) return last;
    if (slash == std::string_view::npos) break;
    cgroup = cgroup.substr(0, slash);
  }
  return {};
}

std::string_view container_of(std::string_view cgroup) {
  while (!cgroup.empty()) {
    const std::size_t slash = cgroup.rfind('/');
    const std::string_view last = cgroup.substr(slash == std::string_view::npos ? 0 : slash + 1);
    if (const std::string_view id = id_in(last); !id.empty()) return id;
    if (const std::string_view name = name_in(last); !name.empty()) return name;
    if (slash == std::string_view::npos) break;
    cgroup = cgroup.substr(0, slash);
  }
  return {};
}

ProcessFact process_facts(pid_t pid) {
  auto name = name_of(pid);
  if (!name) return {.state = FactState::never};
  ProcessFact fact{.state = FactState::known, .name = *std::move(name)};
  fill_in(fact, pid, status_of(pid));
  return fact;
}

// The name is the process's, as every other way of finding it yields: a thread chooses its own.
CallingProcess calling_process(pid_t thread) {
  const auto status = status_of(thread);
  const auto process = status ? process_in(*status) : std::nullopt;
  auto name = process ? name_of(*process) : std::nullopt;
  if (!name) return {};
  CallingProcess caller{.fact = {.state = FactState::known, .name = *std::move(name)},
                        .pid = *process};
  fill_in(caller.fact, thread, status);
  return caller;
}

bool catches_signals(pid_t thread) {
  constexpr std::uint64_t kLibrarys = 0b111ULL << 31;  // 32 to 34: cancelling, setuid(2) of threads
  return (signals_in(status_of(thread).value_or(""), "\nSigCgt:\t") & ~kLibrarys) != 0;
}

std::uint64_t ignored_signals(pid_t thread) {
  std::uint64_t by_default = 0;  // signal(7)
  for (const int signal : {SIGCHLD, SIGCONT, SIGURG, SIGWINCH}) by_default |= 1ULL << (signal - 1);
  const std::string status = status_of(thread).value_or("");
  return signals_in(status, "\nSigIgn:\t") | (by_default & ~signals_in(status, "\nSigCgt:\t"));
}

std::optional<pid_t> process_of_thread(pid_t thread) {
  const auto status = status_of(thread);
  return status ? process_in(*status) : std::nullopt;
}

}  // namespace shunt
