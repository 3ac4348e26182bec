// SPDX-License-Identifier: GPL-2.0-only
// Which process in a capture namespace a flow belongs to: sock_diag tells the socket's inode, and
// /proc/PID/fd of the namespace's processes tells who holds it.
//
// A scan of all of them finds every socket at once, so what it found is kept: of a burst of new
// connections only the first pays. Scanning is held to a share of the log thread's time; a flow
// that comes in between and was not seen yet goes without a name, unless the namespace had one
// process.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "flow/process_names.h"
#include "kernel/sock_diag.h"

namespace shunt {

class NamespaceProcesses final : public ProcessNames {
 public:
  /// `diag_socket` and `netns` as CaptureNamespace has them; `netns` stays the caller's. `holder`
  /// is not looked at.
  NamespaceProcesses(UniqueFd diag_socket, int netns, pid_t holder);

  std::optional<ProcessInfo> lookup(const Flow& flow) override;

 private:
  void scan();

  SockDiag diag_;
  int netns_;
  pid_t holder_;
  std::unordered_map<std::uint32_t, pid_t> holders_;  ///< by socket inode, as of the last scan
  std::optional<pid_t> only_member_;  ///< the last scan saw no other process: all flows are its
  std::chrono::steady_clock::time_point next_scan_;
};

}  // namespace shunt
