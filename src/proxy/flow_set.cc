// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/flow_set.h"

#include "base/limits.h"

namespace shunt {

void FlowSet::start(Captured captured) {
  if (!open_) {
    captured.client->refuse({.reason = ConnectReason::cancelled, .os_error = 0, .detail = {}});
    budget_.give_back(limits::kFdsPerFlow);
    return;
  }
  live_.fetch_add(1, std::memory_order_relaxed);
  spawn(run(std::move(captured)));
}

Task<> FlowSet::run(Captured captured) {
  co_await serve(context_, captured);
  budget_.give_back(limits::kFdsPerFlow);
  live_.fetch_sub(1, std::memory_order_relaxed);
  on_end();
}

}  // namespace shunt
