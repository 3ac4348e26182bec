// SPDX-License-Identifier: GPL-2.0-only
#include "capture/preload_calls.h"

#include <poll.h>
#include <preload.abi.h>
#include <sys/socket.h>

#include <utility>

namespace shunt {

std::uint64_t PreloadCalls::add(UniqueFd connection) {
  waiting_.emplace(++last_, std::move(connection));
  return last_;
}

bool PreloadCalls::waits(std::uint64_t id) const {
  const auto known = waiting_.find(id);
  if (known == waiting_.end()) return false;
  pollfd entry{.fd = known->second.get(), .events = 0, .revents = 0};
  return ::poll(&entry, 1, 0) == 0;  // it says only that the other end is closed
}

void PreloadCalls::begun(std::uint64_t id) const {
  const auto known = waiting_.find(id);
  if (known == waiting_.end()) return;
  shunt_preload_answer answer{};
  answer.verdict = SHUNT_PRELOAD_BEGUN;
  (void)::send(known->second.get(), &answer, sizeof answer, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool PreloadCalls::finish(std::uint64_t id, std::int64_t /*value*/) const {
  return answer(id, SHUNT_PRELOAD_DONE, 0);
}

bool PreloadCalls::fail(std::uint64_t id, int os_error) const {
  return answer(id, SHUNT_PRELOAD_DONE, os_error);
}

bool PreloadCalls::let_run(std::uint64_t id) const { return answer(id, SHUNT_PRELOAD_RUN, 0); }

bool PreloadCalls::answer(std::uint64_t id, std::uint32_t verdict, int os_error) const {
  const bool told = waits(id);
  const auto known = waiting_.find(id);
  if (known == waiting_.end()) return false;
  const UniqueFd connection = std::move(known->second);
  waiting_.erase(known);
  shunt_preload_answer answer{};
  answer.verdict = verdict;
  answer.error = os_error;
  const auto sent = ::send(connection.get(), &answer, sizeof answer, MSG_NOSIGNAL | MSG_DONTWAIT);
  return told && sent == sizeof answer;
}

}  // namespace shunt
