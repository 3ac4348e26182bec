// SPDX-License-Identifier: GPL-2.0-only
// What the targets of `shunt watch` and `shunt route` come to: where the eBPF programs are
// attached, whom they take, and what has to be followed.
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
#include "cli/watch_request.h"
#include "cli/watch_target.h"
#include "kernel/cgroup.h"
#include "kernel/selecting_program.h"
#include "kernel/watch_program.h"
#include "net/unique_fd.h"

namespace shunt::cli {

/// The processes below the root that the targets mean at this moment, ourselves left out. Of those
/// by their number, their children as well.
[[nodiscard]] std::vector<pid_t> meant_processes(const WatchRequest& request);

class Watched {
 public:
  /// The programs act from now on; they outlive it.
  static Result<Watched> start(const WatchRequest& request, SelectingProgram& program);
  Watched(Watched&&) noexcept = default;
  Watched& operator=(Watched&&) noexcept = default;
  /// Moved processes, and their children, go back to where they came from.
  ~Watched();

  /// The processes that are taken at this moment, ourselves left out.
  [[nodiscard]] std::vector<pid_t> processes() const { return meant_processes(request_); }
  /// Those of them that were moved.
  [[nodiscard]] std::vector<pid_t> moved() const;
  /// Where the programs are attached.
  [[nodiscard]] const std::vector<std::string>& cgroups() const { return cgroups_; }
  /// Units and names that nobody has at this moment; they are followed.
  [[nodiscard]] const std::vector<std::string>& awaited() const { return awaited_; }

 private:
  explicit Watched(WatchRequest request) : request_(std::move(request)) {}
  Result<void> follow(SelectingProgram& program);
  Result<void> select(SelectingProgram& program, const WatchTarget& target);
  Result<void> select_process(SelectingProgram& program, const WatchTarget& target);
  Result<void> select_unit(SelectingProgram& program, const WatchTarget& target);
  Result<void> select_names(SelectingProgram& program);
  Result<void> attach(SelectingProgram& program);
  Result<void> move(const WatchTarget& target, SelectingProgram& program);

  struct Moved {
    UniqueFd home;  ///< open_cgroup_processes() of its cgroup before
    Cgroup here;
  };
  WatchRequest request_;
  std::unique_ptr<WatchProgram> watch_;
  std::vector<Moved> moved_;
  std::vector<std::string> cgroups_;
  std::vector<std::string> awaited_;
};

}  // namespace shunt::cli
