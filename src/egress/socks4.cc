// SPDX-License-Identifier: GPL-2.0-only
#include "egress/socks4.h"

#include <fmt/format.h>

#include "egress/sendable_name.h"
#include "egress/wire/socks4.h"

namespace shunt {
namespace {

using socks4::ReplyCode;
using std::unexpected;

template <class T>
using Expected = std::expected<T, ConnectFailure>;

ConnectFailure failure_from(ReplyCode code) {
  const auto [words, reason] = [code]() -> std::pair<std::string_view, ConnectReason> {
    switch (code) {
      case ReplyCode::rejected: return {"rejected or failed", ConnectReason::host_unreachable};
      case ReplyCode::identd_unreachable: return {"identd unreachable", ConnectReason::proxy_error};
      case ReplyCode::identd_says_another:
        return {"another user by identd", ConnectReason::proxy_error};
      default: return {"unassigned code", ConnectReason::proxy_error};
    }
  }();
  return {.reason = reason,
          .os_error = 0,
          .detail = fmt::format("SOCKS4 reply {}: {}", static_cast<int>(code), words)};
}

class Socks4a : public WayOut {
 public:
  explicit Socks4a(std::shared_ptr<const ProxyServer> server) : server_(std::move(server)) {}

  std::string_view name() const override { return server_->name; }
  bool wants_name() const override { return true; }
  bool carries_udp() const override { return false; }
  std::span<const Endpoint> proxies() const override { return server_->first_proxies(); }

  Task<Expected<Upstream>> connect(EventLoop& loop, const Flow& flow,
                                   const Hints& hints) const override {
    const auto request = socks4::request(server_->credentials ? server_->credentials->user : "",
                                         sendable_name(hints.host), flow.original_destination);
    if (!request) co_return unexpected(unsupported("a SOCKS4 proxy carries no IPv6"));
    auto link = co_await ProxyLink::open(loop, *server_, flow);
    if (!link) co_return unexpected(std::move(link).error());
    // The proxy dials for us.
    const Deadline deadline(flow.dial_ms(server_->options.connect_timeout_ms));
    auto sent = co_await link->send(*request, deadline);
    if (!sent) co_return unexpected(std::move(sent).error());
    auto answered = co_await answer(*link, deadline);
    if (!answered) co_return unexpected(std::move(answered).error());
    co_return std::move(*link).into_upstream();
  }

  /// A proxy that takes names has no use for their addresses.
  Task<Expected<Upstream>> connect_to_name(EventLoop& loop, const Flow& flow,
                                           const Hints& hints) const override {
    return connect(loop, flow, hints);
  }

  Task<Expected<UdpUpstream>> associate(EventLoop&, const Flow&) const override {
    co_return unexpected(unsupported("a SOCKS4 proxy carries no UDP"));
  }
  // A request is the first thing that SOCKS4 says.
  Task<Expected<void>> greet(EventLoop& loop, Clock::time_point by) const override {
    return ProxyLink::greet(loop, *server_, by);
  }

 private:
  static ConnectFailure unsupported(std::string detail) {
    return {.reason = ConnectReason::unsupported, .os_error = 0, .detail = std::move(detail)};
  }

  static Task<Expected<void>> answer(ProxyLink& link, Deadline deadline) {
    for (;;) {
      const auto reply = socks4::decode_reply(link.received());
      if (reply.malformed()) co_return unexpected(link.broken("does not speak SOCKS4"));
      if (reply.complete()) {
        if (reply.value != ReplyCode::granted) co_return unexpected(failure_from(reply.value));
        link.consume(reply.size);
        co_return Expected<void>();
      }
      auto more = co_await link.receive(deadline);
      if (!more) co_return unexpected(std::move(more).error());
    }
  }

  std::shared_ptr<const ProxyServer> server_;
};

}  // namespace

std::shared_ptr<const WayOut> make_socks4a(std::shared_ptr<const ProxyServer> server) {
  return std::make_shared<Socks4a>(std::move(server));
}

}  // namespace shunt
