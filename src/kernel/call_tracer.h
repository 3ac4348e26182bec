// SPDX-License-Identifier: GPL-2.0-only
// System calls of other programs that wait for this process to answer them, by ptrace(2): what
// kernel/call_trap.h does, for where that is not to be had. The same calls are trapped, by a filter
// that hands them to a tracer (SECCOMP_RET_TRACE). The tracer is a thread of this process
// (kernel/traced_threads.h), since each request of ptrace's must come from the thread that traces.
//
// Under Yama's kernel.yama.ptrace_scope 1 it may look into the programs that it traces, where a
// supervisor by notifications may not: who is traced has agreed to it.
//
// When this process dies trapped calls fail with ENOSYS, those that wait too; the programs go on.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>

#include "base/result.h"
#include "base/thread.h"
#include "kernel/call_desk.h"
#include "kernel/call_source.h"

namespace shunt {

class CallTracer final : public CallSource {
 public:
  /// SIGCHLD must be blocked in all threads of this process, not ignored, and be nobody else's.
  static Result<std::unique_ptr<CallTracer>> create();
  /// Who is traced goes on, and its calls fail.
  ~CallTracer() override;

  Result<void> take_over(pid_t process, int listener) override;
  [[nodiscard]] int fd() const override { return desk_->calls_fd(); }
  [[nodiscard]] std::optional<TrappedCall> receive() const override { return desk_->receive(); }
  [[nodiscard]] bool abandoned() const override;
  [[nodiscard]] bool waits(std::uint64_t id) const override { return desk_->waits(id); }
  bool finish(std::uint64_t id, std::int64_t value) const override;
  bool fail(std::uint64_t id, int os_error) const override;
  bool let_run(std::uint64_t id) const override;

 private:
  explicit CallTracer(std::unique_ptr<CallDesk> desk) : desk_(std::move(desk)) {}

  std::unique_ptr<CallDesk> desk_;
  Thread thread_;
};

/// In the process that is to be traced, before it is: `tracer` may do so, whatever Yama says of
/// processes that are not its children.
void allow_tracing(pid_t tracer);

/// Sets the filter on the calling thread, for good. Without CAP_SYS_ADMIN it sets no_new_privs
/// first. Without a tracer the calls fail with ENOSYS.
Result<void> trace_network_calls();

/// Traps a call of a child and answers it. The Error says what is missing. Forks, and starts a
/// thread that has ended when this returns.
Result<void> probe_call_tracer();

}  // namespace shunt
