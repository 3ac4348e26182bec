// SPDX-License-Identifier: GPL-2.0-only
#include "capture/captured_network.h"

#include <cerrno>

#include "base/log.h"
#include "net/socket_state.h"

namespace shunt {

bool CapturedNetwork::has(int socket) const {
  const std::uint64_t its = network_ == 0 ? 0 : network_of(socket);
  return its == 0 || its == network_;
}

int CapturedNetwork::refusal(const Endpoint& destination) const {
  if (!may_be_joined_ || destination.address.is_loopback() || destination.address.is_any()) {
    return 0;
  }
  static RateLimitedLog refused;
  refused.warn("a network namespace inside the command is kept from " + destination.text() +
               ": with root's privilege it may lead round shunt (run shunt as a user, or with "
               "--method namespace)");
  return EHOSTUNREACH;
}

}  // namespace shunt
