// SPDX-License-Identifier: GPL-2.0-only
// What those methods of `shunt run` have in common that answer a command's calls.
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "capture/call_handlers.h"
#include "capture/flow_source.h"
#include "capture/plain_listeners.h"
#include "capture/trapped_processes.h"
#include "cli/run_capture.h"
#include "cli/run_method.h"
#include "flow/flow.h"
#include "net/endpoint.h"
#include "proxy/proxy.h"

namespace shunt::cli {

class Options;

/// What the options of `run` say of them.
CallCaptureOptions call_capture_options(const Options& options);

/// What such a capture has for the proxy.
struct CallsInHand {
  CaptureMethod method;
  std::shared_ptr<FlowSource> source;
  PlainSocket datagrams;  ///< of those that are sent to stand-ins
  std::vector<Endpoint> own_listeners;
  TrappedProcesses& owners;  ///< of the capture; outlives the proxy
};

/// As RunCapture::hand_over().
void hand_over_calls(CallsInHand calls, ProxyOptions& proxy);

/// By capture/call_capture.h: `captured_as` is seccomp or ptrace.
Result<std::unique_ptr<RunCapture>> make_run_by_calls(RunMethod method, CaptureMethod captured_as,
                                                      const Options& options);

}  // namespace shunt::cli
