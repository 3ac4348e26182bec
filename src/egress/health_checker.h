// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread.h"
#include "egress/dial.h"
#include "egress/group.h"
#include "net/event_loop.h"
#include "net/task.h"

namespace shunt {

/// Looks at the members of groups from time to time (CheckSpec) and tells the groups what it found:
/// whether the member's proxy lets itself be greeted, or a connection to the target through the
/// member, over http a GET and its status. A look is over after CheckSpec::timeout_ms, whatever
/// time the member gives its own connections. One thread with a loop of its own, so that no worker
/// is busy with it. The groups' state changes only by Group::report_check().
class HealthChecker {
 public:
  /// Resolves the targets' names, which may block. Groups without a check are passed over. Sends
  /// nothing to anybody.
  static Result<std::unique_ptr<HealthChecker>> create(
      std::span<const std::shared_ptr<const Group>> groups);
  /// Starts the thread, which does nothing yet; without checks there is none. At most once.
  Result<void> start();
  /// Behind start(): begins with the checks. What the ways out need of the kernel (routes by mark,
  /// rules that spare shunt's own traffic) is there by then.
  void begin();
  /// How many descriptors all looks may hold at once, at the most.
  [[nodiscard]] int most_descriptors() const;
  /// Ends the checks under way and waits for the thread.
  ~HealthChecker();
  HealthChecker(const HealthChecker&) = delete;
  HealthChecker& operator=(const HealthChecker&) = delete;

 private:
  struct Target {
    Endpoint endpoint;
    std::string host;     ///< as written, for members that resolve by themselves
    std::string request;  ///< "": connecting is enough
    bool proxy = false;   ///< none of these: the member's proxy itself
  };
  struct Check {
    std::shared_ptr<const Group> group;
    std::size_t member;
    Target target;
  };

  HealthChecker() = default;
  static Result<Target> target_of(const Group& group);
  void run();
  Task<> watch(const Check& check);
  /// How long it took to connect, in µs, or why the member is dead, which may hold what a peer
  /// said.
  using Found = std::expected<std::uint32_t, std::string>;
  Task<Found> alive(const Check& check, Deadline deadline);
  void report(const Check& check, const Found& found);

  std::unique_ptr<EventLoop> loop_;
  std::vector<Check> checks_;
  int tasks_ = 0;  ///< that run; the loop stops behind the last
  Thread thread_;
};

/// The host of CheckSpec::target, as written; empty where there is none, or the target is none.
[[nodiscard]] std::optional<std::string> check_host(const CheckSpec& check);

}  // namespace shunt
