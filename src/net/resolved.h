// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <netdb.h>

#include <cstddef>
#include <vector>

#include "net/endpoint.h"

namespace shunt {

/// What getaddrinfo(3) found, each once and in its order, at most `most`; the list stays the
/// caller's.
[[nodiscard]] std::vector<Endpoint> resolved_endpoints(const addrinfo* list, std::size_t most);

}  // namespace shunt
