// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/client_peek.h"

#include <sys/socket.h>

#include <algorithm>

#include "base/limits.h"
#include "sniff/first_facts.h"
#include "sniff/identify.h"

namespace shunt {

ClientPeek::ClientPeek(RelayResources& resources, int fd, std::uint32_t wait_ms)
    : resources_(resources), fd_(fd), deadline_(Clock::now() + std::chrono::milliseconds(wait_ms)) {
  if (const auto slot = resources.loop.watch(fd, 0)) slot_ = *slot;
}

ClientPeek::~ClientPeek() {
  if (slot_ != nullptr) resources_.loop.unwatch(fd_);
}

Task<bool> ClientPeek::learn_more(Facts& facts) {
  if (slot_ != nullptr && !over_) {
    slot_->clear(Slot::kReadable);
    const std::uint32_t left_ms = ms_until(deadline_);
    Wake wake = Wake::timeout;
    if (left_ms > 0) wake = co_await resources_.loop.readable(*slot_, left_ms);
    if (wake == Wake::ready) {
      look(facts);
      co_return true;
    }
    timed_out_ = wake == Wake::timeout;
  }
  settle_first_bytes(facts);
  co_return false;
}

void ClientPeek::look(Facts& facts) {
  char* scratch = resources_.scratch.get();
  const ssize_t got = ::recv(fd_, scratch, std::min(peek_bytes(), limits::kScratchBytes), MSG_PEEK);
  if (got > 0) learn_first_bytes({scratch, static_cast<std::size_t>(got)}, facts);
  over_ = got <= 0 || slot_->has(Slot::kPeerClosed | Slot::kFailed);  // no more will come
}

}  // namespace shunt
