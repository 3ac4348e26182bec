// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/name_verifier.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "base/counters.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/thread.h"
#include "flow/flow.h"
#include "net/resolved.h"

namespace shunt {
namespace {

/// A flow that waits for an answer; of its loop's thread but for `loop`.
struct Waiter {
  explicit Waiter(EventLoop& the_loop) : loop(the_loop) {}
  EventLoop& loop;
  std::coroutine_handle<> handle;
  bool awake = false;

  void wake() {
    if (!std::exchange(awake, true)) handle.resume();
  }
};

void wake_later(const std::shared_ptr<Waiter>& waiter) {
  waiter->loop.post([waiter] { waiter->wake(); });
}

struct Entry {
  bool answered = false;
  std::vector<Address> addresses;
  Clock::time_point expires;
  std::vector<std::shared_ptr<Waiter>> waiters;  // until it is answered
};

}  // namespace

// A waiter stands in its entry as long as its flow waits, so its loop is there to be told.
struct NameVerifier::State {
  explicit State(Resolver the_resolver) : resolver(the_resolver) {}

  Resolver resolver;
  std::mutex mutex;
  std::condition_variable changed;
  std::unordered_map<std::string, Entry> entries;
  std::deque<std::string> queue;
  unsigned threads = 0;
  unsigned idle_threads = 0;
  bool stopping = false;

  const Entry* fresh(const std::string& name) const;
  bool ask(const std::shared_ptr<State>& self, const std::string& name,
           const std::shared_ptr<Waiter>& waiter);
  bool make_room();
  void start_another(const std::shared_ptr<State>& self);
  void give_up(const std::string& name, const std::shared_ptr<Waiter>& waiter);
  static void work(const std::shared_ptr<State>& state);
  void settle(const std::string& name, std::vector<Address> addresses);
};

const Entry* NameVerifier::State::fresh(const std::string& name) const {
  const auto found = entries.find(name);
  const bool usable =
      found != entries.end() && found->second.answered && found->second.expires > Clock::now();
  return usable ? &found->second : nullptr;
}

/// Drops answers: all that are old, or else the oldest. False: all are still asked for.
bool NameVerifier::State::make_room() {
  if (entries.size() < limits::kVerifiedNames) return true;
  const auto now = Clock::now();
  std::erase_if(entries, [now](const auto& each) {
    return each.second.answered && each.second.expires <= now;
  });
  if (entries.size() < limits::kVerifiedNames) return true;
  const auto expiry = [](const auto& each) {
    return each.second.answered ? each.second.expires : Clock::time_point::max();
  };
  const auto oldest = std::ranges::min_element(entries, {}, expiry);
  if (oldest == entries.end() || !oldest->second.answered) return false;
  entries.erase(oldest);
  return true;
}

/// With the mutex held. Where the kernel has no thread left, those that there are go on alone.
void NameVerifier::State::start_another(const std::shared_ptr<State>& self) {
  auto thread = start_thread([self] { work(self); });
  if (thread) {
    ++threads;
    return thread->detach();
  }
  static RateLimitedLog trouble;
  trouble.warn("verifying a name: " + thread.error().text());
}

/// With the mutex held. False: nothing is asked for; too many wait, or no thread can be had.
bool NameVerifier::State::ask(const std::shared_ptr<State>& self, const std::string& name,
                              const std::shared_ptr<Waiter>& waiter) {
  auto found = entries.find(name);
  const bool asked = found != entries.end() && !found->second.answered;
  if (!asked) {
    if (queue.size() >= limits::kNamesToVerify || !make_room()) {
      count(Counter::name_lookups_left_out);
      return false;
    }
    if (idle_threads == 0 && threads < limits::kVerifierThreads) start_another(self);
    if (threads == 0) {  // nobody would ever answer
      count(Counter::name_lookups_left_out);
      return false;
    }
    found = entries.insert_or_assign(name, Entry{}).first;
    queue.push_back(name);
    changed.notify_one();
  }
  found->second.waiters.push_back(waiter);
  return true;
}

void NameVerifier::State::give_up(const std::string& name, const std::shared_ptr<Waiter>& waiter) {
  const std::scoped_lock lock(mutex);
  const auto found = entries.find(name);
  if (found != entries.end()) std::erase(found->second.waiters, waiter);
}

void NameVerifier::State::work(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (true) {
    ++state->idle_threads;
    state->changed.wait(lock, [&] { return state->stopping || !state->queue.empty(); });
    --state->idle_threads;
    if (state->stopping) return;
    const std::string name = std::move(state->queue.front());
    state->queue.pop_front();
    lock.unlock();
    auto addresses = state->resolver(name);
    lock.lock();
    state->settle(name, std::move(addresses));
  }
}

void NameVerifier::State::settle(const std::string& name, std::vector<Address> addresses) {
  const auto found = entries.find(name);
  if (found == entries.end()) return;
  Entry& entry = found->second;
  const std::uint32_t ttl_ms = addresses.empty() ? limits::kUnknownNameMs : limits::kVerifiedNameMs;
  entry.answered = true;
  entry.addresses = std::move(addresses);
  entry.expires = Clock::now() + std::chrono::milliseconds(ttl_ms);
  for (const auto& waiter : std::exchange(entry.waiters, {})) wake_later(waiter);
}

/// Suspends until there is an answer, or the time is over.
class NameVerifier::Answered {
 public:
  Answered(std::shared_ptr<State> state, EventLoop& loop, const std::string& name,
           std::uint32_t wait_ms)
      : state_(std::move(state)),
        name_(name),
        wait_ms_(wait_ms),
        waiter_(std::make_shared<Waiter>(loop)),
        timer_(waiter_, &Answered::expired) {}

  bool await_ready() {
    if (waiter_->loop.cancelled() || wait_ms_ == 0) return true;
    const std::scoped_lock lock(state_->mutex);
    return state_->fresh(name_) != nullptr || !state_->ask(state_, name_, waiter_);
  }
  void await_suspend(std::coroutine_handle<> handle) {
    waiter_->handle = handle;
    waiter_->loop.timers().arm(timer_, waiter_->loop.in(wait_ms_));
  }
  void await_resume() {
    waiter_->loop.timers().disarm(timer_);
    state_->give_up(name_, waiter_);
  }

 private:
  struct Expiry : Timer {
    Expiry(std::shared_ptr<Waiter> the_waiter, Callback callback)
        : Timer(callback), waiter(std::move(the_waiter)) {}
    std::shared_ptr<Waiter> waiter;
  };
  static void expired(Timer& timer) { wake_later(static_cast<Expiry&>(timer).waiter); }

  std::shared_ptr<State> state_;
  const std::string& name_;
  std::uint32_t wait_ms_;
  std::shared_ptr<Waiter> waiter_;
  Expiry timer_;
};

NameVerifier::NameVerifier(Resolver resolver) : state_(std::make_shared<State>(resolver)) {}

NameVerifier::~NameVerifier() {
  const std::scoped_lock lock(state_->mutex);
  state_->stopping = true;
  state_->changed.notify_all();
}

std::optional<bool> NameVerifier::known(const std::string& name, const Address& address) const {
  const std::scoped_lock lock(state_->mutex);
  const Entry* entry = state_->fresh(name);
  if (entry == nullptr) return std::nullopt;
  return std::ranges::find(entry->addresses, address) != entry->addresses.end();
}

Task<bool> NameVerifier::verify(EventLoop& loop, std::string name, Address address,
                                std::uint32_t wait_ms) {
  co_await Answered(state_, loop, name, wait_ms);
  co_return known(name, address).value_or(false);
}

std::vector<Address> NameVerifier::system_resolver(const std::string& name) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &wanted, &found) != 0) return {};
  std::vector<Address> addresses;
  for (const Endpoint& each : resolved_endpoints(found, limits::kAddressesOfName)) {
    addresses.push_back(each.address);
  }
  ::freeaddrinfo(found);
  return addresses;
}

}  // namespace shunt
