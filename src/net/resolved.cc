// SPDX-License-Identifier: GPL-2.0-only
#include "net/resolved.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace shunt {

std::vector<Endpoint> resolved_endpoints(const addrinfo* list, std::size_t most) {
  std::vector<Endpoint> out;
  for (const addrinfo* each = list; each != nullptr && out.size() < most; each = each->ai_next) {
    sockaddr_storage storage{};
    std::memcpy(&storage, each->ai_addr, std::min<std::size_t>(each->ai_addrlen, sizeof storage));
    const auto endpoint = Endpoint::from(storage);
    if (endpoint && std::ranges::find(out, *endpoint) == out.end()) out.push_back(*endpoint);
  }
  return out;
}

}  // namespace shunt
