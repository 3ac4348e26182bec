// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <chrono>
#include <cstdint>

#include "flow/facts.h"
#include "net/task.h"
#include "relay/relay.h"

namespace shunt {

/// Looks at what a client says first, without taking any of it.
class ClientPeek {
 public:
  /// `fd` is the client's connected socket and stays the caller's; it is watched by the loop as
  /// long as this lives. The deadline begins now.
  ClientPeek(RelayResources& resources, int fd, std::uint32_t wait_ms);
  ~ClientPeek();
  ClientPeek(const ClientPeek&) = delete;
  ClientPeek& operator=(const ClientPeek&) = delete;

  /// Waits until there is more to see than there was, and adds to `facts` what it says. False: no
  /// more comes in time; then the facts that are still unknown never will.
  Task<bool> learn_more(Facts& facts);
  /// The reason of that was the deadline.
  [[nodiscard]] bool timed_out() const { return timed_out_; }

 private:
  void look(Facts& facts);

  RelayResources& resources_;
  int fd_;
  Slot* slot_ = nullptr;  // null: cannot be watched, for want of memory
  Clock::time_point deadline_;
  bool over_ = false;
  bool timed_out_ = false;
};

}  // namespace shunt
