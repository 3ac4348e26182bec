// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error_numbers.h"
#include "egress/direct.h"
#include "egress/make_proxy.h"
#include "egress/resolve_server.h"
#include "egress/secret.h"
#include "egress/way_out_url.h"
#include "egress/wire/socks5.h"

namespace shunt {
namespace {

Result<std::string> password_for(const WayOutChoice& choice) {
  if (!choice.password_file.empty()) return read_password_file(choice.password_file);
  // NOLINTNEXTLINE(concurrency-mt-unsafe): read before the workers start
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
  if (url.scheme == ProxyScheme::socks4a) {
    if (!choice.password_file.empty()) {
      return Failure(make_error(Kind::usage, error_number::kBadVia, "SOCKS4 knows no password",
                                "leave --via-password-file out"));
    }
    if (!url.user) return std::nullopt;
    return Credentials{.user = *url.user, .password = {}};
  }
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
  auto addresses = resolve_server(url.host, url.port);
  if (!addresses) return Failure(with_context(std::move(addresses).error(), "the proxy of --via"));
  auto server = std::make_shared<ProxyServer>(url.name(), std::move(*addresses),
                                              std::move(credentials), options);
  if (url.scheme == ProxyScheme::https) {
    server->tls = SHUNT_TRY(TlsClient::create({.server_name = url.host}));
  }
  return make_proxy(url, std::move(server), false);
}

}  // namespace shunt
