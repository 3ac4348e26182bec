// SPDX-License-Identifier: GPL-2.0-only
// `shunt run --method seccomp`: capture/call_capture.h with a listener (kernel/call_trap.h).
#include <memory>
#include <utility>

#include "capture/call_capture.h"
#include "cli/run_calls.h"
#include "cli/run_capture.h"
#include "cli/run_methods.h"
#include "kernel/call_trap.h"

namespace shunt::cli {

Result<void> probe_run_seccomp() { return probe_call_trap(); }

Result<std::unique_ptr<RunCapture>> make_run_seccomp(const Options& options) {
  SHUNT_CHECK(probe_call_trap());
  return make_run_by_calls(RunMethod::seccomp, CaptureMethod::seccomp, options);
}

Result<void> enter_run_seccomp(const RunDoor& door) {
  return enter_call_capture(door.fds.front().get());
}

}  // namespace shunt::cli
