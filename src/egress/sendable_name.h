// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>

namespace shunt {

/// The part of a sniffed host (peer-supplied) that may be sent to a proxy to resolve, or "" where
/// the original address must do: no host name, a form that resolvers take for an IPv4 number
/// (inet_aton(3): "127.1", "0x7f000001"), or "localhost", which would be the proxy's own. A port
/// is cut off.
std::string_view sendable_name(std::string_view host);

}  // namespace shunt
