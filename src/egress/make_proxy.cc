// SPDX-License-Identifier: GPL-2.0-only
#include "egress/make_proxy.h"

#include <utility>

#include "egress/http_connect.h"
#include "egress/resolve_server.h"
#include "egress/socks4.h"
#include "egress/socks5.h"

namespace shunt {

bool sends_names(const ProxyUrl& url, bool resolve) {
  return resolve || url.scheme == ProxyScheme::socks5h || url.scheme == ProxyScheme::socks4a;
}

std::shared_ptr<const WayOut> make_proxy(const ProxyUrl& url, std::shared_ptr<ProxyServer> server,
                                         bool resolve) {
  server->host = url.host;
  if (!server->resolved_by_hop) {
    server->book =
        std::make_shared<const AddressBook>(url.host, url.port, server->addresses, resolve_server);
  }
  switch (url.scheme) {
    case ProxyScheme::socks5:
    case ProxyScheme::socks5h: return make_socks5(std::move(server), sends_names(url, resolve));
    case ProxyScheme::socks4a: return make_socks4a(std::move(server));
    case ProxyScheme::http:
    case ProxyScheme::https: return make_http_connect(std::move(server), resolve);
  }
  std::unreachable();
}

}  // namespace shunt
