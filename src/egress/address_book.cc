// SPDX-License-Identifier: GPL-2.0-only
#include "egress/address_book.h"

#include <utility>

#include "base/thread.h"
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
  auto thread = start_thread([state = state_] {
    auto found = state->resolver(state->host, state->port);
    if (found && !found->empty()) {
      state->addresses = std::make_shared<const std::vector<Endpoint>>(std::move(*found));
    }
    state->not_before_ms = now_ms() + kPauseMs;
    state->looking = false;
  });
  if (thread) return thread->detach();
  state_->looking = false;
}

}  // namespace shunt
