// SPDX-License-Identifier: GPL-2.0-only
// The running proxy: one worker thread for each ListenerSet, each with its own event loop, nothing
// shared between them but counters and the loop guard. Commands make a capture, start a Proxy on
// its listeners, and stop it in the reverse order.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "capture/capture.h"
#include "egress/way_out.h"
#include "flow/record.h"

namespace shunt {

struct ProxyOptions {
  std::vector<ListenerSet> workers;  ///< one worker for each
  CaptureMethod method = CaptureMethod::tproxy;
  std::vector<Endpoint> own_listeners;  ///< flows to these are refused: loop, or a direct dial
  std::shared_ptr<const WayOut> way_out;
  std::shared_ptr<ReplySockets> reply_sockets;  ///< null where UDP is not captured
  FlowLog* log = nullptr;                       ///< outlives the proxy; may be null
  bool observe_content = true;                  ///< parse HTTP and TLS for the log
  std::uint32_t sniff_wait_ms = 300;            ///< reliability row 11
};

class Proxy {
 public:
  /// Starts the worker threads. Block the signals that the caller wants to handle before this.
  static Result<std::unique_ptr<Proxy>> start(ProxyOptions options);
  /// Stops at once if it still runs.
  virtual ~Proxy() = default;

  /// Closes the listeners and lets live flows end by themselves; true when all did in time.
  virtual bool drain(std::uint32_t timeout_ms) = 0;
  /// Ends what is left with a reset and joins the threads.
  virtual void stop() = 0;
  [[nodiscard]] virtual std::size_t live_flows() const = 0;
};

}  // namespace shunt
