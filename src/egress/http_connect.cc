// SPDX-License-Identifier: GPL-2.0-only
// What a proxy's error status says of the destination is loose: the same refused connection is 500
// from tinyproxy, 502 from Apache, 503 from squid. So the two headers that say more go first:
// Proxy-Status (RFC 9209) and X-Squid-Error, which holds the errno. The detail keeps the status
// line as it came.
#include "egress/http_connect.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "egress/sendable_name.h"
#include "egress/wire/http_connect.h"
#include "flow/name_resolver.h"

namespace shunt {
namespace {

using http_connect::Response;
using std::unexpected;

template <class T>
using Expected = std::expected<T, ConnectFailure>;

constexpr std::size_t kLoggedStatusLine = 120;  // of a line that may be 16 KiB long

struct NamedError {
  std::string_view name;
  ConnectReason reason;
};

// RFC 9209 section 2.3, those that speak of the destination or of permission.
constexpr std::array kProxyStatusErrors = std::to_array<NamedError>({
    {"connection_refused", ConnectReason::refused},
    {"connection_timeout", ConnectReason::timed_out},
    {"connection_terminated", ConnectReason::reset},
    {"dns_timeout", ConnectReason::host_unreachable},
    {"dns_error", ConnectReason::host_unreachable},
    {"destination_not_found", ConnectReason::host_unreachable},
    {"destination_unavailable", ConnectReason::host_unreachable},
    {"destination_ip_prohibited", ConnectReason::denied},
    {"destination_ip_unroutable", ConnectReason::network_unreachable},
    {"http_request_denied", ConnectReason::denied},
});

std::optional<ConnectReason> from_proxy_status(std::string_view value) {
  constexpr std::string_view kParameter = "error=";
  const auto at = value.find(kParameter);  // the first member is the nearest to the destination
  if (at == std::string_view::npos) return std::nullopt;
  auto name = value.substr(at + kParameter.size());
  name = name.substr(0, name.find_first_of(";, \t"));
  const auto* found = std::ranges::find(kProxyStatusErrors, name, &NamedError::name);
  if (found == kProxyStatusErrors.end()) return std::nullopt;
  return found->reason;
}

// "ERR_CONNECT_FAIL 111": the name of an error page, then the errno of connect() or 0.
std::optional<ConnectReason> from_squid_error(std::string_view value) {
  const auto page = value.substr(0, value.find(' '));
  if (page == "ERR_DNS_FAIL") return ConnectReason::host_unreachable;
  if (page == "ERR_ACCESS_DENIED") return ConnectReason::denied;
  if (page != "ERR_CONNECT_FAIL" || page.size() == value.size()) return std::nullopt;
  int error = 0;
  const auto number = value.substr(page.size() + 1);
  std::from_chars(number.data(), number.data() + number.size(), error);
  if (error == 0) return std::nullopt;
  return failure_from_errno(error).reason;
}

ConnectReason from_status(int status) {
  switch (status) {
    case 403:
    case 405:
    case 451: return ConnectReason::denied;
    case 401:                                     // of tinyproxy
    case 407: return ConnectReason::proxy_error;  // whoever asks, for whatever destination
    case 408:
    case 504: return ConnectReason::timed_out;
    case 404:
    case 410:
    case 502:
    case 503: return ConnectReason::host_unreachable;
    default: return ConnectReason::proxy_error;
  }
}

ConnectReason reason_of(const Response& response) {
  if (const auto reason = from_proxy_status(response.proxy_status)) return *reason;
  if (const auto reason = from_squid_error(response.squid_error)) return *reason;
  // tinyproxy's answer to each connect() that fails, whatever the errno.
  if (response.status == 500 && response.status_line.ends_with("Unable to connect")) {
    return ConnectReason::host_unreachable;
  }
  return from_status(response.status);
}

ConnectFailure failure_from(const Response& response) {
  return {.reason = reason_of(response),
          .os_error = 0,
          .detail = std::string(response.status_line.substr(0, kLoggedStatusLine))};
}

class HttpConnect : public WayOut {
 public:
  HttpConnect(std::shared_ptr<const ProxyServer> server, bool send_names)
      : owned_(std::move(server)), server_(*owned_), send_names_(send_names) {
    if (const auto& credentials = server_.credentials) {
      authorization_ = http_connect::basic_authorization(credentials->user, credentials->password);
    }
  }

  std::string_view name() const override { return server_.name; }
  bool wants_name() const override { return send_names_; }
  bool carries_udp() const override { return false; }
  std::span<const Endpoint> proxies() const override { return server_.first_proxies(); }

  Task<Expected<Upstream>> connect(EventLoop& loop, const Flow& flow,
                                   const Hints& hints) const override {
    const auto name = send_names_ ? sendable_name(hints.host) : std::string_view();
    co_return co_await connect_to(loop, flow, name);
  }

  Task<Expected<Upstream>> connect_to_name(EventLoop& loop, const Flow& flow,
                                           const Hints& hints) const override {
    const bool looks_up = !send_names_ && hints.resolver->can_resolve();
    if (looks_up) co_return co_await WayOut::connect_to_name(loop, flow, hints);
    co_return co_await connect_to(loop, flow, sendable_name(hints.host));
  }

  Task<Expected<UdpUpstream>> associate(EventLoop&, const Flow&) const override {
    co_return unexpected(ConnectFailure{.reason = ConnectReason::unsupported,
                                        .os_error = 0,
                                        .detail = "an HTTP proxy carries no UDP"});
  }

  // A request is the first thing that HTTP says.
  Task<Expected<void>> greet(EventLoop& loop, Clock::time_point by) const override {
    return ProxyLink::greet(loop, server_, by);
  }

 private:
  /// By the address where `name` is "". It outlives the task.
  Task<Expected<Upstream>> connect_to(EventLoop& loop, const Flow& flow,
                                      std::string_view name) const {
    auto link = co_await ProxyLink::open(loop, server_, flow);
    if (!link) co_return unexpected(std::move(link).error());
    const std::string request =
        http_connect::request(name, flow.original_destination, authorization_);
    // The proxy dials for us.
    const Deadline deadline(flow.dial_ms(server_.options.connect_timeout_ms));
    auto sent = co_await link->send(request, deadline);
    if (!sent) co_return unexpected(std::move(sent).error());
    auto answered = co_await answer(*link, deadline);
    if (!answered) co_return unexpected(std::move(answered).error());
    co_return std::move(*link).into_upstream();
  }

  static Task<Expected<void>> answer(ProxyLink& link, Deadline deadline) {
    for (;;) {
      const auto response = http_connect::decode_response(link.received());
      if (response.malformed()) co_return unexpected(link.broken("does not speak HTTP/1"));
      if (response.complete()) {
        const bool tunnel = response.value.status >= 200 && response.value.status < 300;
        if (!tunnel) co_return unexpected(failure_from(response.value));
        link.consume(response.size);
        co_return Expected<void>();
      }
      auto more = co_await link.receive(deadline);
      if (!more) co_return unexpected(std::move(more).error());
    }
  }

  std::shared_ptr<const ProxyServer> owned_;
  const ProxyServer& server_;
  bool send_names_;
  std::string authorization_;
};

}  // namespace

std::shared_ptr<const WayOut> make_http_connect(std::string name, std::vector<Endpoint> addresses,
                                                const std::optional<Credentials>& credentials,
                                                const UpstreamOptions& options) {
  return make_http_connect(std::make_shared<const ProxyServer>(
                               std::move(name), std::move(addresses), credentials, options),
                           false);
}

std::shared_ptr<const WayOut> make_http_connect(std::shared_ptr<const ProxyServer> server,
                                                bool send_names) {
  return std::make_shared<HttpConnect>(std::move(server), send_names);
}

}  // namespace shunt
