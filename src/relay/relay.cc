// SPDX-License-Identifier: GPL-2.0-only
#include "relay/relay.h"

#include <sys/socket.h>

#include <algorithm>

#include "base/limits.h"
#include "net/socket.h"
#include "relay/mover.h"

namespace shunt {

RelayResources::RelayResources(EventLoop& the_loop, FdAllowance& the_allowance,
                               std::uint32_t idle_ms)
    : loop(the_loop),
      allowance(the_allowance),
      pipes(the_allowance),
      scratch(std::make_unique_for_overwrite<char[]>(limits::kScratchBytes)),
      idle_timeout_ms(idle_ms) {}

namespace {

// Before keepalive would begin to ask; a flow that ends earlier is spared the system calls.
constexpr Tick kWatchAfterTicks = limits::kKeepaliveIdleSeconds * 1000 / 2 / kTickMs;

// What the two directions of a flow share. The idle deadline is the pair's, not a direction's: a
// quiet direction must not end a busy download.
class Pair {
 public:
  Pair(RelayResources& resources, WatchedFd& client, WatchedFd& upstream, Tap* tap,
       RelayEnder* ender)
      : resources_(resources),
        client_(client),
        upstream_(upstream),
        tap_(tap),
        ender_(ender),
        timer_(*this) {
    if (ender_ != nullptr) ender_->attach(this, &Pair::end);
    touch();
    arm();
  }
  ~Pair() {
    if (ender_ != nullptr) ender_->attach(nullptr, nullptr);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  RelayResources& resources() { return resources_; }
  EventLoop& loop() { return resources_.loop; }
  WatchedFd& end_of(Side side) { return side == Side::client ? client_ : upstream_; }
  Tap* tap() { return tap_; }
  Outcome& outcome() { return outcome_; }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] bool done() const { return open_ == 0; }

  void touch() { last_active_ = resources_.loop.now_tick(); }

  /// Ends both directions; both sockets will close with a reset.
  void fail(EndReason reason) {
    if (failed_) return;
    failed_ = true;
    outcome_.reason = reason;
    reset_on_close(client_.fd());
    reset_on_close(upstream_.fd());
    wake_both();
  }

  void fail_reset_by(Side side) {
    fail(side == Side::client ? EndReason::client_reset : EndReason::upstream_reset);
  }

  /// `from` sent its FIN and everything before it is delivered. The first FIN is passed on; the
  /// second goes out with close(), which saves a segment and a system call.
  void finish(Side from) {
    if (tap_ != nullptr) tap_->end(from);
    if (--open_ > 0) {
      ::shutdown(end_of(other(from)).fd(), SHUT_WR);
      touch();
      arm();  // the half-closed timeout is most often the shorter one
    } else {
      wake_both();
    }
  }

 private:
  struct IdleTimer : Timer {
    explicit IdleTimer(Pair& the_pair) : Timer(&Pair::expired), pair(the_pair) {}
    Pair& pair;
  };

  static void end(void* pair, EndReason reason) { static_cast<Pair*>(pair)->fail(reason); }

  static void expired(Timer& timer) {
    Pair& pair = static_cast<IdleTimer&>(timer).pair;
    EventLoop& loop = pair.loop();
    if (loop.cancelled()) return pair.fail(EndReason::shutdown);
    if (pair.last_active_ + pair.idle_ticks() <= loop.now_tick()) return pair.fail(EndReason::idle);
    pair.watch_upstream();
    pair.arm();
  }

  /// The client's socket has it from its listener.
  void watch_upstream() {
    if (watched_) return;
    watched_ = true;
    watch_for_dead_peer(upstream_.fd());
  }

  [[nodiscard]] Tick idle_ticks() const {
    const std::uint32_t ms =
        open_ == 2 ? resources_.idle_timeout_ms
                   : std::min(resources_.idle_timeout_ms, resources_.half_closed_timeout_ms);
    return (ms + kTickMs - 1) / kTickMs;
  }

  void arm() {
    Tick at = last_active_ + idle_ticks() + 1;
    if (!watched_) at = std::min(at, resources_.loop.now_tick() + kWatchAfterTicks);
    resources_.loop.timers().arm(timer_, at);
  }

  void wake_both() {
    loop().cancel(client_.slot());
    loop().cancel(upstream_.slot());
  }

  RelayResources& resources_;
  WatchedFd& client_;
  WatchedFd& upstream_;
  Tap* tap_;
  RelayEnder* ender_;
  IdleTimer timer_;
  Tick last_active_ = 0;
  Outcome outcome_;
  std::uint8_t open_ = 2;
  bool failed_ = false;
  bool watched_ = false;  // for a peer that has died
};

// How much one flow moved since others had their turn.
struct Turn {
  int rounds = 0;
  std::uint64_t moved_before = 0;

  [[nodiscard]] bool over(std::uint64_t moved, Company company) const {
    return rounds >= limits::kTurnRounds || moved - moved_before >= turn_bytes(company);
  }
};

// A bulk transfer lets others go first also when it is woken: eight of them would otherwise go one
// after another before anybody else is looked at.
//
// Until the receiver has taken everything; false when the pair is over.
Task<bool> deliver(Pair& pair, Side from, Mover& mover) {
  WatchedFd& receiver = pair.end_of(other(from));
  while (mover.pending()) {
    const Wake wake = co_await pair.loop().writable(receiver.slot());
    if (wake != Wake::ready || (mover.bulk() && co_await pair.loop().yield() != Wake::ready)) {
      pair.fail(EndReason::shutdown);
    }
    if (pair.failed()) co_return false;
    if (!mover.push()) {
      pair.fail_reset_by(other(from));
      co_return false;
    }
    pair.touch();
  }
  co_return true;
}

// The direction is over, its sender is not: a reset may follow the FIN while the other direction
// still runs, and has to reach the other side.
Task<> watch_for_reset(Pair& pair, Side side) {
  Slot& slot = pair.end_of(side).slot();
  while (!pair.done() && !pair.failed()) {
    if (slot.has(Slot::kFailed)) co_return pair.fail_reset_by(side);
    slot.clear(Slot::kReadable);
    const Wake wake = co_await pair.loop().readable(slot);
    if (wake != Wake::ready && !pair.done()) pair.fail(EndReason::shutdown);
  }
}

// Moves everything that `from` sends, up to its FIN; false when the pair failed before that.
Task<bool> move_all(Pair& pair, Side from, Mover& mover) {
  Slot& sender = pair.end_of(from).slot();
  Turn turn;
  while (!pair.failed()) {
    if (!sender.has(Slot::kReadable)) {
      if (co_await pair.loop().readable(sender) != Wake::ready) break;
      if (mover.bulk() && co_await pair.loop().yield() != Wake::ready) break;
      if (pair.failed()) break;
      turn = {.rounds = 0, .moved_before = mover.moved()};
    }
    switch (mover.pull()) {
      case Pulled::data: break;
      case Pulled::again: continue;
      case Pulled::end: co_return true;
      case Pulled::sender_failed: pair.fail_reset_by(from); co_return false;
      case Pulled::receiver_failed: pair.fail_reset_by(other(from)); co_return false;
      case Pulled::objected: pair.fail(EndReason::host_changed); co_return false;
    }
    pair.touch();
    if (mover.pending()) {
      if (!co_await deliver(pair, from, mover)) co_return false;
      turn = {.rounds = 0, .moved_before = mover.moved()};
    }
    ++turn.rounds;
    if (turn.over(mover.moved(), pair.loop().company())) {
      if (co_await pair.loop().yield() != Wake::ready) break;
      turn = {.rounds = 0, .moved_before = mover.moved()};
    }
  }
  pair.fail(EndReason::shutdown);
  co_return false;
}

Task<> direction(Pair& pair, Side from, std::string first) {
  bool ended = false;
  {
    Mover mover(pair.resources(), pair.end_of(from), pair.end_of(other(from)), from, pair.tap());
    if (!mover.send_first(first)) pair.fail_reset_by(other(from));
    const bool begun = co_await deliver(pair, from, mover);
    if (begun) ended = co_await move_all(pair, from, mover);
    auto& bytes = from == Side::client ? pair.outcome().bytes_up : pair.outcome().bytes_down;
    bytes = mover.moved();
  }
  if (!ended) co_return;
  pair.finish(from);
  co_await watch_for_reset(pair, from);
}

}  // namespace

Task<Outcome> relay(RelayResources& resources, WatchedFd& client, WatchedFd& upstream, Tap* tap,
                    std::string early_down, RelayEnder* ender) {
  Pair pair(resources, client, upstream, tap, ender);
  if (ender != nullptr && ender->ended()) {
    pair.fail(*ender->ended());
    co_return pair.outcome();
  }
  co_await both(direction(pair, Side::client, {}),
                direction(pair, Side::upstream, std::move(early_down)));
  co_return pair.outcome();
}

}  // namespace shunt
