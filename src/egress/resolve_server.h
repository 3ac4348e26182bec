// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/endpoint.h"

namespace shunt {

/// The addresses of a server that a way out leads to, at least one, in the order of RFC 6724.
/// Blocks for as long as the system's resolver does.
Result<std::vector<Endpoint>> resolve_server(const std::string& host, std::uint16_t port);

}  // namespace shunt
