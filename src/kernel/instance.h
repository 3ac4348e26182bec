// SPDX-License-Identifier: GPL-2.0-only
// What one running shunt has taken in one network namespace, on record so that others, and the next
// start, can tell the living from the dead.
//
//   RUN/lock                     held for the milliseconds that anything below changes
//   RUN/BOOT-NETNS/              BOOT: boot id, NETNS: SO_NETNS_COOKIE of the namespace
//     instance.N                 key = value; flocked by the instance for as long as it lives
//     control.N                  the socket that commands ask it by, if it has one (control/)
//     sysctls                    SysctlJournal, shared; undone by the last instance to leave
//
// RUN is $SHUNT_RUN_DIR if set; else the first that can be written of /run/shunt (root),
// $XDG_RUNTIME_DIR/shunt, and /tmp/shunt-UID (0700, checked to be ours: mapped root inside a user
// namespace may not write to /run). Two instances of one namespace that use different RUN folders
// do not see each other's record, so the sweep also asks the kernel: a tagged rule of a capture
// goes only when its table is empty, other tagged rules only when nobody lives unseen, a persistent
// table only when its owner's table is gone.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/held_fd.h"
#include "kernel/marks.h"

namespace shunt {

/// What an instance uses, free of collisions when it was chosen.
struct Allotment {
  unsigned number = 0;  ///< N of instance.N, part of the names below
  Marks marks{};
  bool adopted_marks = false;    ///< those of a dead instance, LeftMarks::adopt; not on record
  std::uint32_t table_mask = 0;  ///< for `table` of ways out (table_marks.h); 0: no bits are free
  std::uint32_t route_table = 0;
  std::uint32_t first_priority = 0;  ///< kPriorities ip rule priorities from here are free
  std::string table_name{};          ///< nftables, owned: "shunt-N"
  std::string
      closed_table_name{};  ///< nftables, persistent, for on-exit = closed: "shunt-N-closed"

  static constexpr std::uint32_t kPriorities = 64;
  // From first_priority: rules of the capture, one for each interface and one for own traffic; then
  static constexpr std::uint32_t kReturnPriority = kPriorities - 6;  ///< four: the return path
  static constexpr std::uint32_t kTablePriority = kPriorities - 2;   ///< two: tables of ways out
};

struct SweepReport {
  std::vector<std::string> removed{};   ///< "ip rule add …", "table inet …", "sysctl …", one each
  std::vector<std::string> kept{};      ///< what belongs to a live instance, and to which
  std::vector<std::string> problems{};  ///< what could not be removed, and why
};

struct LiveInstance {
  pid_t pid = 0;
  std::string command{};
  Allotment allotment{};
  std::string control_socket{};  ///< where its control socket is, if it has one
};

/// What becomes of the marks that the closed table of a dead instance acts on.
enum class LeftMarks : std::uint8_t {
  avoid,
  /// They become those of the new instance, unless somebody else uses them too. Connection tracking
  /// still has them on what the dead one had captured, so the new one's rules take what those
  /// connections say, and nothing of it passes when it removes the closed table.
  adopt,
};

class Instance {
 public:
  /// Says whether another instance may start beside those that live.
  using Admission = std::function<Result<void>(const std::vector<LiveInstance>&)>;

  /// Sweeps (all but the closed tables of the dead, see sweep_closed_tables()), chooses, records.
  /// `command` is for people who read the record. Needs CAP_NET_ADMIN. `admission` is asked under
  /// StateLock, so two that start at once cannot both be the first; its Error is handed on.
  static Result<Instance> create(std::string_view command, const Admission& admission = {},
                                 LeftMarks left_marks = LeftMarks::avoid);
  /// The same choice for `shunt plan`, with LeftMarks::adopt: changes nothing, needs no privilege,
  /// sees less without it.
  static Result<Allotment> preview();
  Instance(Instance&&) noexcept = default;
  Instance& operator=(Instance&& other) noexcept;
  /// Gives up the record; the last one to leave restores the sysctls. Destroy what uses the
  /// allotment (tables, rules, routes) before.
  ~Instance();

  [[nodiscard]] const Allotment& allotment() const { return allotment_; }
  /// Where its control socket belongs: beside the record, and removed with it.
  [[nodiscard]] std::string control_socket() const;
  /// Journals, then writes; nothing if the value is there already. `path` as in sysctl.h.
  Result<void> raise_sysctl(std::string_view path, std::string_view value);
  /// Removes the closed tables that dead instances left. Call it when this instance's own capture
  /// (and its own closed table, if any) is in force: the traffic is then never uncovered.
  SweepReport sweep_closed_tables();

 private:
  Instance(Allotment allotment, std::string run, std::string directory, HeldFd lock);
  void leave();

  Allotment allotment_;
  std::string run_;        // RUN
  std::string directory_;  // RUN/BOOT-NETNS
  HeldFd lock_;            // the flocked record
};

/// `shunt down`: removes what dead instances left in this network namespace: tagged rules, closed
/// tables, raised sysctls. Idempotent; spares the living.
Result<SweepReport> sweep();

/// The instances that live in this network namespace, as far as this user's record shows.
Result<std::vector<LiveInstance>> live_instances();

}  // namespace shunt
