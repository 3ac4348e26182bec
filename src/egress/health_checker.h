// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "egress/group.h"
#include "net/event_loop.h"
#include "net/task.h"

namespace shunt {

/// Looks at the members of groups from time to time (CheckSpec) and tells the groups what it found:
/// whether the member's proxy lets itself be greeted, or a connection to the target through the
/// member, over http a GET and its status. One thread with a
/// loop of its own, so that no worker is busy with it. The groups' state changes only by
/// Group::report_check().
class HealthChecker {
 public:
  /// Resolves the targets' names, which may block. Groups without a check are passed over. Sends
  /// nothing to anybody.
  static Result<std::unique_ptr<HealthChecker>> create(
      std::span<const std::shared_ptr<const Group>> groups);
  /// Begins with the checks; without any it does nothing. At most once. What the ways out need of
  /// the kernel (routes by mark, rules that spare shunt's own traffic) is there by then.
  void start();
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
    int looks = 0;  ///< under way
  };
  /// Of one member at the same time: connecting may take longer than the interval.
  static constexpr int kMostLooks = 4;

  HealthChecker() = default;
  static Result<Target> target_of(const Group& group);
  void run();
  void ended();
  Task<> watch(Check& check);
  Task<> look_for_a_while(Check& check);
  Task<> look(const Check& check, bool& reported);
  Task<> give_up(const Check& check, bool& reported);
  /// How long it took to connect, in µs, or why the member is dead, which may hold what a peer
  /// said.
  using Found = std::expected<std::uint32_t, std::string>;
  Task<Found> alive(const Check& check);
  void report(const Check& check, const Found& found);

  std::unique_ptr<EventLoop> loop_;
  std::vector<Check> checks_;
  int tasks_ = 0;  ///< that run; the loop stops behind the last
  std::jthread thread_;
};

}  // namespace shunt
