// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error_numbers.h"
#include "egress/direct.h"
#include "egress/http_connect.h"
#include "egress/secret.h"
#include "egress/socks5.h"
#include "egress/way_out_url.h"
#include "egress/wire/socks5.h"

namespace shunt {
namespace {

constexpr std::size_t kMostAddresses = 16;

// getaddrinfo() rather than a resolver of our own: /etc/hosts, mDNS and search domains should mean
// the same here as to any program, and nothing waits for us yet.
Result<std::vector<Endpoint>> resolve(const ProxyUrl& url) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
  // RFC 4291's loopback does not count for AI_ADDRCONFIG, so a literal must not be subject to it.
  if (Address::parse(url.host.substr(0, url.host.find('%')))) hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code =
      ::getaddrinfo(url.host.c_str(), std::to_string(url.port).c_str(), &hints, &found);
  if (code != 0) {
    const int os_error = code == EAI_SYSTEM ? errno : 0;
    Error error = make_error(Kind::runtime, fmt::format("cannot resolve the proxy {}{}{}", url.host,
                                                        os_error == 0 ? ": " : "",
                                                        os_error == 0 ? ::gai_strerror(code) : ""));
    error.os_error = os_error;
    return Failure(std::move(error));
  }
  std::vector<Endpoint> addresses;
  for (const auto* entry = found; entry != nullptr; entry = entry->ai_next) {
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ai_addr, entry->ai_addrlen);
    const auto endpoint = Endpoint::from(storage);
    if (endpoint && std::ranges::find(addresses, *endpoint) == addresses.end() &&
        addresses.size() < kMostAddresses) {
      addresses.push_back(*endpoint);
    }
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) {
    return Failure(make_error(Kind::runtime, fmt::format("the proxy {} has no address", url.host)));
  }
  return addresses;
}

Result<std::string> password_for(const WayOutChoice& choice) {
  if (!choice.password_file.empty()) return read_password_file(choice.password_file);
  const char* password = ::getenv(kPasswordVariable);
  if (password == nullptr) {
    return Failure(make_error(
        Kind::usage, error_number::kBadVia, "--via names a user but there is no password",
        fmt::format("--via-password-file FILE, or {} in the environment (it may be empty)",
                    kPasswordVariable)));
  }
  if (std::strlen(password) > socks5::kLongestCredential) {
    return Failure(make_error(Kind::usage, error_number::kBadVia,
                              fmt::format("{} holds more than 255 bytes", kPasswordVariable)));
  }
  return std::string(password);
}

Result<std::optional<Credentials>> credentials_for(const ProxyUrl& url,
                                                   const WayOutChoice& choice) {
  if (!url.user) {
    if (choice.password_file.empty()) return std::nullopt;
    return Failure(make_error(Kind::usage, error_number::kBadVia,
                              "--via-password-file without a user in the URL of --via",
                              fmt::format("--via {}", [&url] {
                                auto name = url.name();
                                return name.insert(name.find("://") + 3, "USER@");
                              }())));
  }
  return Credentials{.user = *url.user, .password = SHUNT_TRY(password_for(choice))};
}

}  // namespace

Result<std::shared_ptr<const WayOut>> make_way_out(const WayOutChoice& choice,
                                                   const UpstreamOptions& options) {
  if (choice.url.empty()) {
    if (choice.password_file.empty()) return make_direct(options);
    return Failure(make_error(Kind::usage, error_number::kOptionConflict,
                              "--via-password-file without --via"));
  }
  const ProxyUrl url = SHUNT_TRY(parse_proxy_url(choice.url));
  auto credentials = SHUNT_TRY(credentials_for(url, choice));
  auto addresses = SHUNT_TRY(resolve(url));
  switch (url.scheme) {
    case ProxyScheme::socks5:
    case ProxyScheme::socks5h:
      return make_socks5(url.name(), std::move(addresses), std::move(credentials),
                         url.scheme == ProxyScheme::socks5h, options);
    case ProxyScheme::http:
      return make_http_connect(url.name(), std::move(addresses), credentials, options);
  }
  std::unreachable();
}

}  // namespace shunt
