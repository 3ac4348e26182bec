// SPDX-License-Identifier: GPL-2.0-only
#include "egress/resolve_server.h"

#include <fmt/format.h>
#include <netdb.h>

#include <cerrno>

#include "net/host_name.h"
#include "net/resolved.h"

namespace shunt {
namespace {

constexpr std::size_t kMostAddresses = 16;

}  // namespace

// getaddrinfo() rather than a resolver of our own: /etc/hosts, mDNS and search domains should mean
// the same here as to any program, and nothing waits for us yet.
Result<std::vector<Endpoint>> resolve_server(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
  // RFC 4291's loopback does not count for AI_ADDRCONFIG, so a literal must not be subject to it.
  if (is_address(host)) hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0) {
    const int os_error = code == EAI_SYSTEM ? errno : 0;
    Error error = make_error(Kind::runtime,
                             fmt::format("cannot resolve {}{}{}", host, os_error == 0 ? ": " : "",
                                         os_error == 0 ? ::gai_strerror(code) : ""));
    error.os_error = os_error;
    return Failure(std::move(error));
  }
  auto addresses = resolved_endpoints(found, kMostAddresses);
  ::freeaddrinfo(found);
  if (addresses.empty()) {
    return Failure(make_error(Kind::runtime, fmt::format("{} has no address", host)));
  }
  return addresses;
}

}  // namespace shunt
