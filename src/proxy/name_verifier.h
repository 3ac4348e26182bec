// SPDX-License-Identifier: GPL-2.0-only
// Ties the names that clients give to the addresses that they go to, by lookups of our own
// (getaddrinfo(3), which reads /etc/hosts as well). A host with many addresses may answer our
// question otherwise than the client's: then a true name counts as not verified.
//
// Lookups block, so a few threads of their own make them; a worker's flow waits for the answer, but
// no longer than it is told to. Answers are kept for a short while. Everything is bounded: names
// that are kept, names that wait, threads (limits.h). A thread that the resolver holds up is left
// behind at the end and touches nothing but the state that it shares.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/endpoint.h"
#include "net/event_loop.h"
#include "net/task.h"

namespace shunt {

/// Any thread, but for what says otherwise.
class NameVerifier {
 public:
  /// The addresses of a name; empty where it has none, or nobody answers.
  using Resolver = std::vector<Address> (*)(const std::string& name);

  explicit NameVerifier(Resolver resolver = system_resolver);
  ~NameVerifier();
  NameVerifier(const NameVerifier&) = delete;
  NameVerifier& operator=(const NameVerifier&) = delete;

  /// Whether `address` is one of `name`'s, as far as that is known now.
  [[nodiscard]] std::optional<bool> known(const std::string& name, const Address& address) const;
  /// The same, looked up if need be. False when the time is over, or too many names wait. On the
  /// loop's thread; the loop outlives the task.
  Task<bool> verify(EventLoop& loop, std::string name, Address address, std::uint32_t wait_ms);

  static std::vector<Address> system_resolver(const std::string& name);

 private:
  struct State;
  class Answered;
  std::shared_ptr<State> state_;
};

}  // namespace shunt
