// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/call_tracer.h"

#include <poll.h>
#include <sys/prctl.h>

#include <semaphore>
#include <utility>

#include "kernel/traced_threads.h"

namespace shunt {

Result<std::unique_ptr<CallTracer>> CallTracer::create() {
  auto desk = SHUNT_TRY(CallDesk::create());
  return std::unique_ptr<CallTracer>(new CallTracer(std::move(desk)));
}

CallTracer::~CallTracer() {
  desk_->stop();
  thread_.join();
}

Result<void> CallTracer::take_over(pid_t process, int /*listener*/) {
  Result<void> seized;
  std::binary_semaphore done(0);
  // It has what it needs of this frame as long as this waits.
  thread_ = SHUNT_TRY(start_thread([desk = desk_.get(), process, &seized, &done] {
    TracedThreads threads(*desk);
    auto result = threads.seize(process);
    const bool begun = result.has_value();
    seized = std::move(result);
    done.release();
    if (begun) threads.run();
  }));
  done.acquire();
  return seized;
}

bool CallTracer::abandoned() const {
  pollfd calls{.fd = fd(), .events = 0, .revents = 0};
  return ::poll(&calls, 1, 0) > 0 && (calls.revents & POLLHUP) != 0;
}

bool CallTracer::finish(std::uint64_t id, std::int64_t value) const {
  return desk_->answer(id, value);
}

bool CallTracer::fail(std::uint64_t id, int os_error) const { return desk_->answer(id, -os_error); }

bool CallTracer::let_run(std::uint64_t id) const { return desk_->answer(id, std::nullopt); }

void allow_tracing(pid_t tracer) {
  ::prctl(PR_SET_PTRACER, static_cast<unsigned long>(tracer), 0, 0, 0);  // EINVAL without Yama
}

}  // namespace shunt
