// SPDX-License-Identifier: GPL-2.0-only
// Moves bytes between two connected TCP sockets until both directions have ended.
//
// Each direction is one coroutine. It copies through the worker's one scratch buffer until several
// large reads in a row show that it is bulk, then splices through a pooled pipe, and goes back when
// the moves get small. A FIN is passed on as a FIN once everything before it was sent, and leaves
// the other direction alone; a reset is passed on as a reset; an urgent byte is sent as one, at its
// place in the stream. Splice and urgent data do not mix on Linux (after an urgent byte splice()
// says EAGAIN with data queued, and 0 before the end), so a direction that saw EPOLLPRI copies
// for the rest of its life, and a 0 from splice() counts as the end only when recv() confirms it.
//
// Backpressure: a direction reads no further while anything it read is unsent. It then holds at
// most one 64 KiB block, or one pipe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/limits.h"
#include "flow/record.h"
#include "flow/tap.h"
#include "net/task.h"
#include "net/watched_fd.h"
#include "relay/buffer_pool.h"
#include "relay/pipe_pool.h"

namespace shunt {

/// What the relays of one worker share. Belongs to the worker's thread.
struct RelayResources {
  EventLoop& loop;
  FdAllowance& allowance;
  PipePool pipes;
  BufferPool buffers;
  std::unique_ptr<char[]> scratch;  ///< limits::kScratchBytes; never held across a co_await
  std::uint32_t idle_timeout_ms;    ///< neither side said anything
  std::uint32_t half_closed_timeout_ms = limits::kHalfClosedTimeoutMs;  ///< nor after one FIN

  RelayResources(EventLoop& the_loop, FdAllowance& the_allowance, std::uint32_t idle_ms);
};

/// Ends a relay from outside, as a failure does: with a reset on both sides; one that has yet to
/// begin ends as it begins. Outlives the relay that it was given to. Of the loop's thread.
class RelayEnder {
 public:
  void end(EndReason reason) {
    reason_ = reason;
    if (end_ != nullptr) end_(relay_, reason);
  }
  /// Why, once end() was called.
  [[nodiscard]] std::optional<EndReason> ended() const { return reason_; }
  /// For relay() alone.
  void attach(void* relay, void (*end)(void* relay, EndReason reason)) {
    relay_ = relay;
    end_ = end;
  }

 private:
  void* relay_ = nullptr;
  void (*end_)(void* relay, EndReason reason) = nullptr;
  std::optional<EndReason> reason_;
};

/// Runs until both directions have ended, one side failed, the pair was idle for too long, or the
/// loop cancelled it. After a failure both sockets are set to close with a reset. `early_down` is
/// upstream data that was read before (behind a proxy's reply). `tap` and `ender` may be null.
/// Neither socket needs TCP_NODELAY: the client's has it from its listener, and to the upstream a
/// first segment is never held back, so it is set before the second send. Who has sent something by
/// the upstream's socket before sets it.
Task<Outcome> relay(RelayResources& resources, WatchedFd& client, WatchedFd& upstream, Tap* tap,
                    std::string early_down, RelayEnder* ender = nullptr);

}  // namespace shunt
