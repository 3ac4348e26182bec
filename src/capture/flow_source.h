// SPDX-License-Identifier: GPL-2.0-only
// A capture whose flows arrive at no listening socket. One worker runs it, beside its listeners.
#pragma once

#include <functional>

#include "flow/admission.h"
#include "net/event_loop.h"
#include "net/task.h"

namespace shunt {

/// What it needs of its worker. All of it belongs to the loop's thread, and outlives the source's
/// tasks.
struct SourceWorker {
  EventLoop* loop = nullptr;
  std::function<bool()> take_room;  ///< is there room for one more flow? Then it is taken
  std::function<void()> give_room;  ///< gives back what was taken for what is no flow
  /// Starts a flow, with room taken. Its id is for the callee to give.
  std::function<void(Captured)> start;
  /// Runs a task of the source's own, which the worker's end waits for: it must end soon after
  /// close(), and when the loop is cancelled.
  std::function<void(Task<>)> run;
};

class FlowSource {
 public:
  virtual ~FlowSource() = default;
  /// Yields flows until close(), or until the loop is cancelled. Once.
  virtual Task<> run(SourceWorker worker) = 0;
  /// No flow more. On the loop's thread.
  virtual void close() = 0;
};

}  // namespace shunt
