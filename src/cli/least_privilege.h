// SPDX-License-Identifier: GPL-2.0-only
// What `gateway`, `serve` and `watch` give up once they are set up, so that whoever takes over the
// process that reads everybody's first bytes has little to do anything with: all capabilities but
// those in use, the way to new ones, core dumps, and the system calls that are not in use.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "policy/ruleset.h"

namespace shunt::cli {

struct PrivilegeNeeds {
  bool processes = false;            ///< rules ask what program a flow comes from
  bool toa = false;                  ///< a way out says `toa`
  bool ebpf = false;                 ///< eBPF programs are asked where clients were going
  std::vector<std::string> files{};  ///< those that are read again later
};

/// `host`: this machine's own traffic is captured, which alone comes from processes.
[[nodiscard]] PrivilegeNeeds privilege_needs(const Ruleset& rules, bool host);

/// What a process has after give_up_privileges().
struct KeptPrivileges {
  bool processes = false;          ///< may look into processes of others
  bool gave_up_processes = false;  ///< could have, before
  bool toa = false;                ///< may attach eBPF programs and use their maps
};

/// Gives up everything that is not in use from here on, for good: called before any thread is
/// started and after whatever needs more (the probing of the kernel). Logs what is missing or
/// unusual. A kernel without filters for system calls is no reason to fail.
///
///   CAP_NET_ADMIN         tables, rules, routes, sysctls of the network, marks, TPROXY
///   CAP_NET_RAW           replies to UDP clients from addresses in use here, SO_BINDTODEVICE
///   CAP_NET_BIND_SERVICE  replies to UDP clients from ports below 1024
///   CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH
///                         only with needs.processes: which process has a socket
///   CAP_BPF               only with needs.toa or needs.ebpf: their maps
///   CAP_DAC_READ_SEARCH   only where one of needs.files cannot be read without it
Result<KeptPrivileges> give_up_privileges(const PrivilegeNeeds& needs);

}  // namespace shunt::cli
