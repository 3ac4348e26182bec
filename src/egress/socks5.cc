// SPDX-License-Identifier: GPL-2.0-only
#include "egress/socks5.h"

#include <fmt/format.h>

#include "egress/pipelining.h"
#include "egress/sendable_name.h"
#include "egress/socks5_relay.h"
#include "egress/wire/socks5.h"
#include "flow/name_resolver.h"
#include "net/socket.h"

namespace shunt {
namespace {

using socks5::Command;
using socks5::Method;
using socks5::Reply;
using socks5::ReplyCode;
using std::unexpected;

template <class T>
using Expected = std::expected<T, ConnectFailure>;

// 6 is "TTL expired" in RFC 1928; servers send it where their connect() gave ETIMEDOUT (dante,
// microsocks), and a router's "time exceeded" is an unreachable host to connect() anyway.
ConnectReason reason_of(ReplyCode code) {
  switch (code) {
    case ReplyCode::not_allowed: return ConnectReason::denied;
    case ReplyCode::network_unreachable: return ConnectReason::network_unreachable;
    case ReplyCode::host_unreachable: return ConnectReason::host_unreachable;
    case ReplyCode::connection_refused: return ConnectReason::refused;
    case ReplyCode::ttl_expired: return ConnectReason::timed_out;
    case ReplyCode::command_not_supported:
    case ReplyCode::address_type_not_supported: return ConnectReason::unsupported;
    default: return ConnectReason::proxy_error;
  }
}

std::string_view words_for(ReplyCode code) {
  switch (code) {
    case ReplyCode::general_failure: return "general failure";
    case ReplyCode::not_allowed: return "not allowed";
    case ReplyCode::network_unreachable: return "network unreachable";
    case ReplyCode::host_unreachable: return "host unreachable";
    case ReplyCode::connection_refused: return "connection refused";
    case ReplyCode::ttl_expired: return "TTL expired";
    case ReplyCode::command_not_supported: return "command not supported";
    case ReplyCode::address_type_not_supported: return "address type not supported";
    default: return "unassigned code";
  }
}

ConnectFailure failure_from(ReplyCode code) {
  return {.reason = reason_of(code),
          .os_error = 0,
          .detail = fmt::format("SOCKS5 reply {}: {}", static_cast<int>(code), words_for(code))};
}

/// Receives until `decode` finds its message, and takes it off what was received.
template <class T>
Task<Expected<T>> read(ProxyLink& link, Decoded<T> (*decode)(std::string_view), Deadline deadline) {
  for (;;) {
    auto message = decode(link.received());
    if (message.complete()) {
      link.consume(message.size);
      co_return std::move(message.value);
    }
    if (message.malformed()) co_return unexpected(link.broken("does not speak SOCKS5"));
    auto more = co_await link.receive(deadline);
    if (!more) co_return unexpected(std::move(more).error());
  }
}

/// A conversation that came to its reply.
struct Answered {
  ProxyLink link;
  Method method;
  Reply reply;
};

class Socks5 : public WayOut {
 public:
  Socks5(std::shared_ptr<const ProxyServer> server, bool send_names)
      : owned_(std::move(server)), server_(*owned_), send_names_(send_names) {}

  std::string_view name() const override { return server_.name; }
  bool wants_name() const override { return send_names_; }
  bool carries_udp() const override {
    return server_.through == nullptr || server_.through->reaches_relays();
  }
  std::span<const Endpoint> proxies() const override { return server_.first_proxies(); }

  Task<Expected<Upstream>> connect(EventLoop& loop, const Flow& flow,
                                   const Hints& hints) const override;
  Task<Expected<UdpUpstream>> associate(EventLoop& loop, const Flow& flow) const override;
  bool maps_clients() const override { return carries_udp(); }
  Task<Expected<UdpUpstream>> open_mapping(EventLoop& loop, const Flow& flow) const override;
  Task<Expected<void>> greet(EventLoop& loop, Clock::time_point by) const override;
  Task<Expected<Upstream>> connect_to_name(EventLoop& loop, const Flow& flow,
                                           const Hints& hints) const override;
  Task<Expected<UdpUpstream>> associate_to_name(EventLoop& loop, const Flow& flow,
                                                const Hints& hints) const override;

 private:
  bool looks_up(const Hints& hints) const { return !send_names_ && hints.resolver->can_resolve(); }
  /// Datagrams to the relay of a new association, without this proxy's header.
  Task<Expected<UdpUpstream>> open_association(EventLoop& loop, const Flow& flow) const;
  Task<Expected<Upstream>> connect_to(EventLoop& loop, const Flow& flow,
                                      std::string_view domain) const;
  Task<Expected<Answered>> ask(EventLoop& loop, const Flow& flow, const std::string& request) const;
  /// `reached` becomes whether there was a connection to the server.
  Task<Expected<Answered>> converse(EventLoop& loop, const Flow& flow, const std::string& request,
                                    std::optional<Method> ahead, bool& reached) const;
  Task<Expected<Method>> choose(ProxyLink& link, const std::string& request,
                                std::optional<Method> ahead, Deadline deadline) const;
  Task<Expected<void>> authenticate(ProxyLink& link, bool sent_ahead, Deadline deadline) const;
  std::string password_request() const {
    return socks5::password_request(server_.credentials->user, server_.credentials->password);
  }

  std::shared_ptr<const ProxyServer> owned_;
  const ProxyServer& server_;
  bool send_names_;
  mutable Pipelining pipelining_;
};

Task<Expected<Upstream>> Socks5::connect(EventLoop& loop, const Flow& flow,
                                         const Hints& hints) const {
  const auto domain = send_names_ ? sendable_name(hints.host) : std::string_view();
  co_return co_await connect_to(loop, flow, domain);
}

Task<Expected<Upstream>> Socks5::connect_to_name(EventLoop& loop, const Flow& flow,
                                                 const Hints& hints) const {
  if (looks_up(hints)) co_return co_await WayOut::connect_to_name(loop, flow, hints);
  co_return co_await connect_to(loop, flow, sendable_name(hints.host));
}

/// By the address where `domain` is "". It outlives the task.
Task<Expected<Upstream>> Socks5::connect_to(EventLoop& loop, const Flow& flow,
                                            std::string_view domain) const {
  const std::string request =
      socks5::request(Command::connect, {.domain = domain, .endpoint = flow.original_destination});
  auto answered = co_await ask(loop, flow, request);
  if (!answered) co_return unexpected(std::move(answered).error());
  co_return std::move(answered->link).into_upstream();
}

Task<Expected<UdpUpstream>> Socks5::open_association(EventLoop& loop, const Flow& flow) const {
  if (!carries_udp()) {
    co_return unexpected(
        ConnectFailure{.reason = ConnectReason::unsupported,
                       .os_error = 0,
                       .detail = "a hop before " + server_.name + " carries no UDP"});
  }
  // All zeros: where our datagrams will come from is not known before the relay's address is.
  const Endpoint unknown{.address = Address::any(server_.addresses.front().address.family())};
  const std::string request =
      socks5::request(Command::udp_associate, {.domain = {}, .endpoint = unknown});
  auto answered = co_await ask(loop, flow, request);
  if (!answered) co_return unexpected(std::move(answered).error());
  const auto relay = socks5::relay_address(answered->link, answered->reply);
  if (!relay) co_return unexpected(relay.error());
  auto upstream = co_await socks5::open_relay(loop, answered->link, *relay, flow, server_.options);
  if (!upstream) co_return upstream;
  upstream->controls.push_back(std::move(answered->link).into_control());
  tune_relayed_tcp(upstream->controls.back().socket.fd());
  co_return upstream;
}

Task<Expected<UdpUpstream>> Socks5::open_mapping(EventLoop& loop, const Flow& flow) const {
  auto upstream = co_await open_association(loop, flow);
  if (upstream) upstream->relaying = &socks5::kMappingRelaying;
  co_return upstream;
}

Task<Expected<UdpUpstream>> Socks5::associate(EventLoop& loop, const Flow& flow) const {
  auto upstream = co_await open_association(loop, flow);
  if (!upstream) co_return upstream;
  upstream->header += socks5::udp_header(flow.original_destination);
  ++upstream->relay_headers;
  upstream->unwrap = socks5::unwrap_from_destination;
  co_return upstream;
}

Task<Expected<UdpUpstream>> Socks5::associate_to_name(EventLoop& loop, const Flow& flow,
                                                      const Hints& hints) const {
  if (looks_up(hints)) co_return co_await WayOut::associate_to_name(loop, flow, hints);
  auto upstream = co_await associate(loop, flow);
  if (!upstream) co_return upstream;
  // The destination is what the header ends with.
  const std::size_t by_address = socks5::udp_header(flow.original_destination).size();
  upstream->header.resize(upstream->header.size() - by_address);
  upstream->header += socks5::udp_header(sendable_name(hints.host), flow.original_destination.port);
  co_return upstream;
}

// Whether sending everything at once may have broken the conversation. Silence may not: a
// destination that is slow to answer is no reason to ask for it twice.
bool may_be_pipelining(const ConnectFailure& failure) {
  return failure.reason == ConnectReason::reset || failure.reason == ConnectReason::proxy_error;
}

Task<Expected<Answered>> Socks5::ask(EventLoop& loop, const Flow& flow,
                                     const std::string& request) const {
  const auto ahead = pipelining_.ahead();
  bool reached = false;
  auto answered = co_await converse(loop, flow, request, ahead, reached);
  if (!answered && ahead && reached && may_be_pipelining(answered.error())) {
    auto again = co_await converse(loop, flow, request, std::nullopt, reached);
    if (again) pipelining_.failed();
    answered = std::move(again);
  } else if (answered && !ahead) {
    pipelining_.step_by_step_worked(server_, answered->link.address(), answered->method);
  }
  if (answered && answered->reply.code != ReplyCode::succeeded) {
    co_return unexpected(failure_from(answered->reply.code));
  }
  co_return answered;
}

Task<Expected<Answered>> Socks5::converse(EventLoop& loop, const Flow& flow,
                                          const std::string& request, std::optional<Method> ahead,
                                          bool& reached) const {
  auto link = co_await ProxyLink::open(loop, server_, flow);
  reached = link.has_value();
  if (!link) co_return unexpected(std::move(link).error());
  const Deadline handshake(flow.dial_ms(server_.options.handshake_timeout_ms));
  const auto method = co_await choose(*link, request, ahead, handshake);
  if (!method) co_return unexpected(method.error());
  if (*method == Method::password) {
    auto authenticated = co_await authenticate(*link, ahead.has_value(), handshake);
    if (!authenticated) co_return unexpected(std::move(authenticated).error());
  }
  // From here on the proxy dials for us, which may take it as long as it may take us.
  const Deadline dial(flow.dial_ms(server_.options.connect_timeout_ms));
  if (!ahead) {
    auto sent = co_await link->send(request, dial);
    if (!sent) co_return unexpected(std::move(sent).error());
  }
  auto reply = co_await read(*link, socks5::decode_reply, dial);
  if (!reply) co_return unexpected(std::move(reply).error());
  co_return Answered{.link = std::move(*link), .method = *method, .reply = *reply};
}

Task<Expected<void>> Socks5::greet(EventLoop& loop, Clock::time_point by) const {
  Flow nobodys;
  nobodys.dial_by = by;
  auto link = co_await ProxyLink::open(loop, server_, nobodys);
  if (!link) co_return unexpected(std::move(link).error());
  const Deadline handshake(nobodys.dial_ms(server_.options.handshake_timeout_ms));
  const auto method = co_await choose(*link, {}, std::nullopt, handshake);
  if (!method) co_return unexpected(method.error());
  if (*method != Method::password) co_return Expected<void>();
  co_return co_await authenticate(*link, false, handshake);
}

// Sends the greeting, and with `ahead` all the rest; yields the method that the server chose.
Task<Expected<Method>> Socks5::choose(ProxyLink& link, const std::string& request,
                                      std::optional<Method> ahead, Deadline deadline) const {
  const bool have_password = server_.credentials.has_value();
  std::string opening = socks5::greeting(true, have_password);
  if (ahead) {
    const bool password = *ahead == Method::password;
    opening = socks5::greeting(!password, password);
    if (password) opening += password_request();
    opening += request;
  }
  auto sent = co_await link.send(opening, deadline);
  if (!sent) co_return unexpected(std::move(sent).error());
  auto method = co_await read(link, socks5::decode_method, deadline);
  if (!method) co_return unexpected(std::move(method).error());
  if (*method == Method::no_acceptable) {
    co_return unexpected(link.broken(have_password ? "accepts neither a password nor none"
                                                   : "wants authentication"));
  }
  const bool offered =
      ahead ? *method == *ahead
            : *method == Method::none || (*method == Method::password && have_password);
  if (!offered) co_return unexpected(link.broken("chose a method that was not offered"));
  co_return *method;
}

Task<Expected<void>> Socks5::authenticate(ProxyLink& link, bool sent_ahead,
                                          Deadline deadline) const {
  if (!sent_ahead) {
    const std::string credentials = password_request();
    auto sent = co_await link.send(credentials, deadline);
    if (!sent) co_return unexpected(std::move(sent).error());
  }
  auto status = co_await read(link, socks5::decode_password_reply, deadline);
  if (!status) co_return unexpected(std::move(status).error());
  if (*status != 0) {
    co_return unexpected(link.broken("rejected the user name or password"));
  }
  co_return Expected<void>();
}

}  // namespace

std::shared_ptr<const WayOut> make_socks5(std::string name, std::vector<Endpoint> addresses,
                                          std::optional<Credentials> credentials, bool send_names,
                                          const UpstreamOptions& options) {
  return make_socks5(std::make_shared<const ProxyServer>(std::move(name), std::move(addresses),
                                                         std::move(credentials), options),
                     send_names);
}

std::shared_ptr<const WayOut> make_socks5(std::shared_ptr<const ProxyServer> server,
                                          bool send_names) {
  return std::make_shared<Socks5>(std::move(server), send_names);
}

}  // namespace shunt
