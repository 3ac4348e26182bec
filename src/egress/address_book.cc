// SPDX-License-Identifier: GPL-2.0-only
#include "egress/address_book.h"

#include <pthread.h>

#include <csignal>
#include <utility>

#include "base/thread_signals.h"
#include "egress/dial.h"
#include "net/host_name.h"

namespace shunt {
namespace {

std::int64_t now_ms() { return in_ms(Clock::now()); }

}  // namespace

AddressBook::AddressBook(std::string host, std::uint16_t port, std::vector<Endpoint> addresses,
                         Resolver resolver)
    : state_(std::make_shared<State>()) {
  state_->resolver = is_address(host) ? nullptr : resolver;
  state_->host = std::move(host);
  state_->port = port;
  state_->addresses = std::make_shared<const std::vector<Endpoint>>(std::move(addresses));
}

AddressBook::Addresses AddressBook::current() const { return state_->addresses.load(); }

void AddressBook::look_again() const {
  if (state_->resolver == nullptr || now_ms() < state_->not_before_ms.load()) return;
  if (state_->looking.exchange(true)) return;
  if (now_ms() < state_->not_before_ms.load()) {  // one has ended since we looked
    state_->looking = false;
    return;
  }
  auto* held = new std::shared_ptr<State>(state_);
  const auto body = [](void* argument) -> void* {
    const std::unique_ptr<std::shared_ptr<State>> owned(
        static_cast<std::shared_ptr<State>*>(argument));
    State& state = **owned;
    auto found = state.resolver(state.host, state.port);
    if (found && !found->empty()) {
      state.addresses = std::make_shared<const std::vector<Endpoint>>(std::move(*found));
    }
    state.not_before_ms = now_ms() + kPauseMs;
    state.looking = false;
    return nullptr;
  };
  // Signals are the main thread's business: the new thread inherits this mask.
  const sigset_t all = signals_for_main_thread();
  sigset_t before;
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread{};
  const bool started = ::pthread_create(&thread, nullptr, body, held) == 0;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (started) {
    ::pthread_detach(thread);
    return;
  }
  delete held;
  state_->looking = false;
}

}  // namespace shunt
