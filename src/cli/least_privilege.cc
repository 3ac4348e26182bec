// SPDX-License-Identifier: GPL-2.0-only
#include "cli/least_privilege.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/capability.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <thread>

#include "base/log.h"
#include "kernel/capabilities.h"
#include "kernel/syscall_filter.h"
#include "net/unique_fd.h"
#include "proxy/decide_flow.h"

namespace shunt::cli {
namespace {

struct Use {
  int capability;
  std::string_view without;  ///< what does not work
};

constexpr std::array kAlways = {
    Use{CAP_NET_ADMIN, "nothing is captured"},
    Use{CAP_NET_RAW, "some UDP clients get no answers, and ways out cannot be bound to interfaces"},
    Use{CAP_NET_BIND_SERVICE, "UDP clients get no answers from ports below 1024 (DNS, QUIC)"},
};
constexpr std::array kProcesses = {CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH};

bool cannot_read(const std::string& file) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  return !fd.valid() && errno == EACCES;
}

/// The first file that only privilege opens; "": none. Tried on a thread, since capabilities are
/// the thread's own and what it gives up is gone.
std::string file_that_needs_privilege(const std::vector<int>& capabilities,
                                      const std::vector<std::string>& files) {
  std::string found;
  std::thread([&] {
    if (!keep_only(capabilities)) return;
    const auto file = std::ranges::find_if(files, cannot_read);
    if (file != files.end()) found = *file;
  }).join();
  return found;
}

void add_for_processes(std::vector<int>& kept) {
  std::vector<std::string> missing;
  for (const int capability : kProcesses) {
    if (has_capability(capability)) {
      kept.push_back(capability);
    } else {
      missing.push_back(capability_name(capability));
    }
  }
  if (missing.empty()) return;
  log(LogLevel::warning,
      fmt::format("without {} the rules see only this user's own processes (docs/service.md)",
                  fmt::join(missing, " and ")));
}

std::vector<int> capabilities_in_use(const PrivilegeNeeds& needs) {
  std::vector<int> kept;
  for (const auto& [capability, without] : kAlways) {
    if (has_capability(capability)) {
      kept.push_back(capability);
    } else {
      log(LogLevel::warning, fmt::format("without {} {}", capability_name(capability), without));
    }
  }
  if (needs.processes) add_for_processes(kept);
  if ((needs.toa || needs.ebpf) && has_capability(CAP_BPF)) kept.push_back(CAP_BPF);
  const bool kept_already = std::ranges::find(kept, CAP_DAC_READ_SEARCH) != kept.end();
  if (kept_already || !has_capability(CAP_DAC_READ_SEARCH)) return kept;
  if (const std::string file = file_that_needs_privilege(kept, needs.files); !file.empty()) {
    log(LogLevel::info, fmt::format("keeping CAP_DAC_READ_SEARCH, since {} is not this user's to "
                                    "read",
                                    file));
    kept.push_back(CAP_DAC_READ_SEARCH);
  }
  return kept;
}

bool may_see_processes() { return std::ranges::all_of(kProcesses, has_capability); }

}  // namespace

PrivilegeNeeds privilege_needs(const Ruleset& rules, bool host) {
  PrivilegeNeeds needs{.processes = host && names_processes(rules)};
  for (const FileStamp& file : rules.files()) needs.files.push_back(file.path);
  return needs;
}

Result<KeptPrivileges> give_up_privileges(const PrivilegeNeeds& needs) {
  KeptPrivileges kept{.gave_up_processes = may_see_processes(), .toa = needs.toa};
  SHUNT_CHECK(keep_only(capabilities_in_use(needs)));
  kept.processes = may_see_processes();
  kept.gave_up_processes = kept.gave_up_processes && !kept.processes;
  SHUNT_CHECK(gain_no_privileges());
  if (!can_be_restricted()) {
    log(LogLevel::info, "built with sanitizers: any system call may be made");
    return kept;
  }
  SHUNT_CHECK(forbid_dumps());
  if (const auto restricted = restrict_system_calls({.bpf = needs.toa || needs.ebpf});
      !restricted) {
    log(LogLevel::warning, restricted.error().text());
  }
  return kept;
}

}  // namespace shunt::cli
