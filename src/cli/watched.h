// SPDX-License-Identifier: GPL-2.0-only
// What the targets of `shunt watch` come to: where the eBPF programs are attached, whom they take,
// and what has to be followed.
//
//   cgroup:/x            the programs are attached to that cgroup
//   pid:N with --move    to a cgroup of our own, into which the process is moved; undone at the end
//   everything else      to the root of the cgroups (--cgroup-root), and the programs are told whom
//                        they take: users, groups, cgroups of units, processes
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "capture/cgroup_capture.h"
#include "cli/watch_target.h"
#include "kernel/cgroup.h"
#include "kernel/watch_program.h"

namespace shunt::cli {

struct WatchRequest {
  std::vector<WatchTarget> targets;
  std::string root;   ///< directory of the topmost cgroup that is captured
  bool move = false;  ///< processes into a cgroup of ours
  int network = -1;   ///< where it is captured (cli/watch_network.h); -1: in the calling thread's
};

/// Whether it takes more than to be in the cgroups that the programs are attached to.
CaptureProgramOptions::Capture capture_mode(const WatchRequest& request);

class Watched {
 public:
  /// Captures from now on.
  static Result<Watched> start(const WatchRequest& request, CgroupCapture& capture);
  Watched(Watched&&) noexcept = default;
  Watched& operator=(Watched&&) noexcept = default;
  /// Moved processes, and their children, go back to where they came from.
  ~Watched();

  /// The processes that are captured at this moment, ourselves left out.
  [[nodiscard]] std::vector<pid_t> processes() const;
  /// Those of them that were moved.
  [[nodiscard]] std::vector<pid_t> moved() const;
  /// Where the programs are attached.
  [[nodiscard]] const std::vector<std::string>& cgroups() const { return cgroups_; }
  /// Units and names that nobody has at this moment; they are followed.
  [[nodiscard]] const std::vector<std::string>& awaited() const { return awaited_; }

 private:
  explicit Watched(WatchRequest request) : request_(std::move(request)) {}
  Result<void> follow(CgroupCapture& capture);
  Result<void> select(CgroupCapture& capture, const WatchTarget& target);
  Result<void> select_process(CgroupCapture& capture, const WatchTarget& target);
  Result<void> select_unit(CgroupCapture& capture, const WatchTarget& target);
  Result<void> select_names(CgroupCapture& capture);
  Result<void> attach(CgroupCapture& capture);
  Result<void> move(const WatchTarget& target, CgroupCapture& capture);

  struct Moved {
    std::string home;  ///< its cgroup before
    Cgroup here;
  };
  WatchRequest request_;
  std::unique_ptr<WatchProgram> watch_;
  std::vector<Moved> moved_;
  std::vector<std::string> cgroups_;
  std::vector<std::string> awaited_;
};

}  // namespace shunt::cli
