// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/endpoint.h"

namespace shunt {

/// A server's addresses as its name gave them when shunt started, and since: when none of them can
/// be reached, the name is looked up again on a thread of its own, at most once in kPauseMs. Flows
/// never wait for that; those that come later find the new addresses. Any thread.
class AddressBook {
 public:
  static constexpr std::uint32_t kPauseMs = 10'000;

  using Addresses = std::shared_ptr<const std::vector<Endpoint>>;
  using Resolver = Result<std::vector<Endpoint>> (*)(const std::string& host, std::uint16_t port);

  /// `addresses` is not empty. A `host` that is an address is never looked up.
  AddressBook(std::string host, std::uint16_t port, std::vector<Endpoint> addresses,
              Resolver resolver);

  [[nodiscard]] Addresses current() const;
  /// Never blocks. A look-up that fails changes nothing.
  void look_again() const;
  /// A look-up is under way.
  [[nodiscard]] bool looking() const { return state_->looking; }

 private:
  /// Outlives the book while a look-up is under way, which the resolver may draw out.
  struct State {
    std::string host;
    std::uint16_t port = 0;
    Resolver resolver;
    std::atomic<Addresses> addresses;
    std::atomic<std::int64_t> not_before_ms = 0;
    std::atomic<bool> looking = false;
  };
  std::shared_ptr<State> state_;
};

}  // namespace shunt
