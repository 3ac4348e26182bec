// SPDX-License-Identifier: GPL-2.0-only
// Sysctls by their path below /proc/sys, with slashes ("net/ipv4/conf/eth0.1/forwarding"): an
// interface's name may hold dots. /proc/sys/net shows the network namespace of the reading thread
// (proc_sys(5), net/sysctl_net.c: the lookup takes current's nsproxy).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shunt {

/// Without the final newline.
Result<std::string> read_sysctl(std::string_view path);
Result<void> write_sysctl(std::string_view path, std::string_view value);
/// As sysctl(8) writes it: net.ipv4.conf.eth0/1.forwarding.
std::string sysctl_name(std::string_view path);

/// The journal of raised sysctls: one line each, written BEFORE the sysctl is, so that a crash at
/// any point leaves enough to undo it. Undone from the last line to the first, and a line only if
/// the value is still the one that shunt set: what the user changed meanwhile stays. A line whose
/// sysctl was never written (a crash in between) undoes nothing, for the same reason.
///
/// Writing net/ipv4/ip_forward or net/ipv[46]/conf/all/forwarding resets a sysctl of every
/// interface as well (inet_forward_change(), addrconf_forward_change()); a line holds their old
/// values too.
class SysctlJournal {
 public:
  /// `file` need not exist. The caller holds the lock that makes it exclusive (Instance does).
  explicit SysctlJournal(std::string file) : file_(std::move(file)) {}

  /// Journals and writes, unless the value is there already.
  Result<void> raise(std::string_view path, std::string_view value) const;
  /// Undoes everything and removes the file, unless a sysctl could not be written: then the next
  /// restore() tries again. One line for people about each sysctl.
  struct Restored {
    std::vector<std::string> restored{};
    std::vector<std::string> left{};  ///< was changed after shunt set it
    std::vector<std::string> failed{};
  };
  [[nodiscard]] Restored restore() const;
  [[nodiscard]] bool empty() const;

 private:
  std::string file_;
};

}  // namespace shunt
