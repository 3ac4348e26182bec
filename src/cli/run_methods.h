// SPDX-License-Identifier: GPL-2.0-only
// The functions of each method of `shunt run`, for the table in run_method.cc; see RunMethodRow.
#pragma once

#include <memory>

#include "base/result.h"
#include "cli/run_method.h"

namespace shunt::cli {

// run_namespace.cc
Result<void> probe_run_namespace();
Result<std::unique_ptr<RunCapture>> make_run_namespace(const Options& options);
Result<void> enter_run_namespace(const RunDoor& door);

// run_seccomp.cc
Result<void> probe_run_seccomp();
Result<std::unique_ptr<RunCapture>> make_run_seccomp(const Options& options);
Result<void> enter_run_seccomp(const RunDoor& door);

// run_ebpf.cc
Result<void> probe_run_ebpf();
Result<std::unique_ptr<RunCapture>> make_run_ebpf(const Options& options);
Result<void> enter_run_ebpf(const RunDoor& door);

// run_ptrace.cc
Result<void> probe_run_ptrace();
Result<std::unique_ptr<RunCapture>> make_run_ptrace(const Options& options);
Result<void> enter_run_ptrace(const RunDoor& door);

// run_preload.cc
Result<void> probe_run_preload();
Result<std::unique_ptr<RunCapture>> make_run_preload(const Options& options);
Result<void> enter_run_preload(const RunDoor& door);

}  // namespace shunt::cli
