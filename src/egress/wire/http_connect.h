// SPDX-License-Identifier: GPL-2.0-only
// HTTP CONNECT (RFC 9110 section 9.3.6) as a client speaks it. Bytes only, no I/O; a response head
// is bounded by limits::kHttpHeadBytes.
#pragma once

#include <string>
#include <string_view>

#include "flow/decoded.h"
#include "net/endpoint.h"

namespace shunt::http_connect {

/// The views point into the bytes that were decoded.
struct Response {
  int status = 0;
  std::string_view status_line;   ///< without its line end
  std::string_view proxy_status;  ///< the value of Proxy-Status (RFC 9209), "" where absent
  std::string_view squid_error;   ///< the value of X-Squid-Error: "ERR_CONNECT_FAIL 111"
};

/// `authorization` is the value of Proxy-Authorization, "" for none.
std::string request(const Endpoint& destination, std::string_view authorization);
/// The same for a name and the destination's port; "" is no name. The name is sent as it stands.
std::string request(std::string_view name, const Endpoint& destination,
                    std::string_view authorization);
/// The Basic scheme of RFC 7617.
std::string basic_authorization(std::string_view user, std::string_view password);
/// The final response's head; interim ones (1xx) before it are passed over. Line ends may be bare
/// line feeds (RFC 9112 section 2.2). What follows a 2xx head is the tunnel's first bytes: a body
/// length in it counts for nothing.
Decoded<Response> decode_response(std::string_view bytes);

}  // namespace shunt::http_connect
