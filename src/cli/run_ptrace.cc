// SPDX-License-Identifier: GPL-2.0-only
// `shunt run --method ptrace`: capture/call_capture.h with a tracer (kernel/call_tracer.h).
#include <memory>
#include <utility>

#include "capture/call_capture.h"
#include "cli/run_calls.h"
#include "cli/run_capture.h"
#include "cli/run_methods.h"
#include "kernel/call_tracer.h"

namespace shunt::cli {

Result<void> probe_run_ptrace() { return probe_call_tracer(); }

Result<std::unique_ptr<RunCapture>> make_run_ptrace(const Options& options) {
  SHUNT_CHECK(probe_call_tracer());
  return make_run_by_calls(RunMethod::ptrace, CaptureMethod::ptrace, options);
}

Result<void> enter_run_ptrace(const RunDoor& door) {
  return enter_traced_capture(door.fds.front().get());
}

}  // namespace shunt::cli
