// SPDX-License-Identifier: GPL-2.0-only
// Finds out whether a server that left a connection with a client's address unanswered answers this
// machine: then its answers to the client take another way, which no setting here can mend, and the
// log says what would.
//
// Costs nothing until a connection had no answer within its time; then one more is made, without
// the client's address, which is closed as soon as it stands. A server is looked at once in
// limits::kAstrayAgainMs, at most limits::kAstrayProbes at a time.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>

#include "egress/way_out.h"
#include "net/task.h"

namespace shunt {

class AstrayProbe {
 public:
  /// Both outlive it.
  AstrayProbe(const std::string& way_out, const UpstreamOptions& options)
      : way_out_(way_out), options_(options) {}

  /// Returns within limits::kAstrayProbeMs; warns where answers to `client` go astray. Any thread.
  Task<> look(EventLoop& loop, Address client, Endpoint destination) const;

 private:
  [[nodiscard]] bool may_look(const Address& server) const;

  const std::string& way_out_;
  const UpstreamOptions& options_;
  mutable std::atomic<int> running_ = 0;
  mutable std::mutex mutex_;
  mutable std::map<Address, Clock::time_point> looked_at_;
};

/// The words of the warning. `own` is this machine's address towards the server; `client_network`
/// the network that this machine reaches the client in. Pure.
[[nodiscard]] std::string astray_text(const std::string& way_out, const Endpoint& destination,
                                      const Address& own, const Address& client,
                                      const std::string& client_network);

}  // namespace shunt
