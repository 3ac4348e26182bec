// SPDX-License-Identifier: GPL-2.0-only
// The attempts' sockets sit in an epoll set of the race's own, and the loop watches that set: one
// descriptor to wait for, whichever of them is ready first.
#include "egress/race.h"

#include <sys/epoll.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/turn.h"

namespace shunt {
namespace {

using std::unexpected;

template <class T>
using Expected = std::expected<T, ConnectFailure>;

struct Runner {
  Attempt attempt;
  Endpoint destination;
};

/// What has been begun and neither won nor failed.
class Field {
 public:
  static Expected<Field> create(EventLoop& loop) {
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll.valid()) return unexpected(failure_from_errno(errno));
    auto watched = WatchedFd::create(loop, std::move(epoll), 0);
    if (!watched) return unexpected(failure_from_errno(watched.error().os_error));
    return Field(std::move(*watched));
  }

  [[nodiscard]] bool empty() const { return runners_.empty(); }
  [[nodiscard]] Slot& slot() const { return epoll_.slot(); }

  Expected<void> begin(const Endpoint& destination, const BeginAttempt& begin_attempt) {
    if (runners_.size() == kMostAttempts) runners_.erase(runners_.begin());
    auto attempt = begin_attempt(destination);
    if (!attempt) return unexpected(std::move(attempt).error());
    epoll_event event{};
    event.events = EPOLLOUT;
    event.data.fd = attempt->fd.get();
    if (::epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, attempt->fd.get(), &event) != 0) {
      return unexpected(failure_from_errno(errno));
    }
    runners_.push_back({.attempt = std::move(*attempt), .destination = destination});
    return {};
  }

  struct Seen {
    std::optional<Runner> winner;          ///< the first that connected
    std::optional<ConnectFailure> failed;  ///< what the last that failed met
  };
  Seen look() {
    Seen seen{};
    slot().clear(Slot::kReadable);
    epoll_event event{};
    while (::epoll_wait(epoll_.fd(), &event, 1, 0) > 0) {
      const auto at = std::ranges::find_if(runners_, [&event](const Runner& runner) {
        return runner.attempt.fd.get() == event.data.fd;
      });
      const auto settled =
          settle_attempt(event.data.fd, at->destination,
                         (event.events & (EPOLLERR | EPOLLHUP)) != 0, at->attempt.reported);
      ::epoll_ctl(epoll_.fd(), EPOLL_CTL_DEL, event.data.fd, nullptr);
      Runner runner = std::move(*at);
      runners_.erase(at);
      if (settled) {
        seen.winner = std::move(runner);
        break;
      }
      seen.failed = settled.error();
    }
    return seen;
  }

 private:
  explicit Field(WatchedFd epoll) : epoll_(std::move(epoll)) {}

  WatchedFd epoll_;
  std::vector<Runner> runners_;
};

Expected<RaceWon> won(EventLoop& loop, Runner runner) {
  auto socket = WatchedFd::create(loop, std::move(runner.attempt.fd), Slot::kWritable);
  if (!socket) return unexpected(failure_from_errno(socket.error().os_error));
  return RaceWon{
      .dialled = {.socket = std::move(*socket), .reported = std::move(runner.attempt.reported)},
      .address = runner.destination};
}

constinit std::atomic<int> running_races = 0;

/// Each gets an equal part of the time that is left.
Task<Expected<RaceWon>> one_after_another(EventLoop& loop, const std::vector<Endpoint>& ordered,
                                          const BeginAttempt& begin, std::uint32_t timeout_ms) {
  const Deadline deadline(timeout_ms);
  ConnectFailure last;
  for (auto next = ordered.begin(); next != ordered.end(); ++next) {
    const auto left = static_cast<std::uint32_t>(ordered.end() - next);
    auto attempt = begin(*next);
    if (!attempt) {
      last = std::move(attempt).error();
      continue;
    }
    auto dialled = co_await finish_dial(loop, std::move(*attempt), *next,
                                        std::max(deadline.left_ms() / left, 1U));
    if (dialled) co_return RaceWon{.dialled = std::move(*dialled), .address = *next};
    last = std::move(dialled).error();
    if (last.reason == ConnectReason::cancelled) break;
  }
  co_return unexpected(std::move(last));
}

}  // namespace

std::vector<Endpoint> attempt_order(const std::vector<Endpoint>& addresses, std::size_t first) {
  std::vector<Endpoint> rest = addresses;
  std::vector<Endpoint> order;
  auto next = rest.begin() + static_cast<std::ptrdiff_t>(first % rest.size());
  while (next != rest.end()) {
    order.push_back(*next);
    rest.erase(next);
    const Family family = order.back().address.family();
    next = std::ranges::find_if(
        rest, [family](const Endpoint& other) { return other.address.family() != family; });
    if (next == rest.end()) next = rest.begin();
  }
  return order;
}

Task<Expected<RaceWon>> race(EventLoop& loop, const std::vector<Endpoint>& ordered,
                             const UpstreamOptions& options, std::uint32_t timeout_ms,
                             HandshakeAck ack) {
  const BeginAttempt begin = [&options, ack](const Endpoint& destination) {
    return begin_attempt(destination, SocketType::stream, options, nullptr, ack);
  };
  co_return co_await race(loop, ordered, begin, timeout_ms);
}

Task<Expected<RaceWon>> race(EventLoop& loop, const std::vector<Endpoint>& ordered,
                             const BeginAttempt& begin, std::uint32_t timeout_ms) {
  if (ordered.size() == 1) {
    co_return co_await one_after_another(loop, ordered, begin, timeout_ms);
  }
  const Turn turn(running_races, kMostRaces);
  if (!turn.taken()) co_return co_await one_after_another(loop, ordered, begin, timeout_ms);
  auto field = Field::create(loop);
  if (!field) co_return unexpected(std::move(field).error());
  const Deadline deadline(timeout_ms);
  Deadline next_start(0);
  ConnectFailure last;
  for (auto next = ordered.begin();;) {
    if (next != ordered.end() && next_start.left_ms() == 0) {
      const auto begun = field->begin(*next++, begin);
      if (begun) next_start = Deadline(kAttemptDelayMs);
      if (!begun) last = begun.error();
      if (!begun) continue;
    }
    if (field->empty() && next == ordered.end()) co_return unexpected(std::move(last));
    const std::uint32_t left = deadline.left_ms();
    if (left == 0) co_return unexpected(failure_from_wake(Wake::timeout));
    const std::uint32_t wait = next == ordered.end() ? left : std::min(left, next_start.left_ms());
    const Wake wake = co_await loop.readable(field->slot(), std::max(wait, 1U));
    if (wake == Wake::cancelled) co_return unexpected(failure_from_wake(wake));
    if (wake != Wake::ready) continue;
    auto seen = field->look();
    if (seen.winner) co_return won(loop, std::move(*seen.winner));
    if (!seen.failed) continue;
    last = std::move(*seen.failed);
    next_start = Deadline(0);  // one has failed: the next need not wait
  }
}

}  // namespace shunt
