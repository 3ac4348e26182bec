// SPDX-License-Identifier: GPL-2.0-only
#include "egress/proxy_protocol_out.h"

#include <fmt/format.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "egress/sendable_name.h"
#include "egress/stream_io.h"
#include "egress/wrapped_way_out.h"
#include "net/socket.h"

namespace shunt {
namespace {

using proxy_protocol::Header;
using proxy_protocol::Version;
using std::unexpected;

template <class T>
using Expected = std::expected<T, ConnectFailure>;

std::uint64_t process_nonce() {
  static const std::uint64_t nonce = [] {
    std::uint64_t value = 0;
    (void)::getrandom(&value, sizeof value, 0);
    return value;
  }();
  return nonce;
}

/// A name was sniffed, so the client's bytes wait in its socket and follow in a moment.
bool first_bytes_wait(const Hints& hints) {
  return hints.source == NameSource::http_host || hints.source == NameSource::tls_sni;
}

class ProxyProtocolOut : public WrappedWayOut {
 public:
  ProxyProtocolOut(std::shared_ptr<const WayOut> inner, Version version)
      : WrappedWayOut(std::move(inner)), version_(version) {}

  bool carries_udp() const override { return version_ == Version::v2 && inner().carries_udp(); }
  bool reaches_relays() const override { return false; }  // none reads a PROXY header
  bool maps_clients() const override { return false; }    // its header tells one destination

  Task<Expected<Upstream>> connect(EventLoop& loop, const Flow& flow,
                                   const Hints& hints) const override {
    auto upstream = co_await inner().connect(loop, flow, hints);
    if (!upstream) co_return upstream;
    co_return co_await introduce(loop, *std::move(upstream), flow, hints);
  }

  Task<Expected<Upstream>> connect_to_name(EventLoop& loop, const Flow& flow,
                                           const Hints& hints) const override {
    auto upstream = co_await inner().connect_to_name(loop, flow, hints);
    if (!upstream) co_return upstream;
    co_return co_await introduce(loop, *std::move(upstream), flow, hints);
  }

  Task<Expected<UdpUpstream>> associate(EventLoop& loop, const Flow& flow) const override {
    if (!carries_udp()) {
      co_return unexpected(ConnectFailure{.reason = ConnectReason::unsupported,
                                          .os_error = 0,
                                          .detail = "this way out carries no UDP"});
    }
    auto upstream = co_await inner().associate(loop, flow);
    if (upstream) upstream->header += header_for(flow, {}, {});
    co_return upstream;
  }

  Task<Expected<UdpUpstream>> associate_to_name(EventLoop& loop, const Flow& flow,
                                                const Hints& hints) const override {
    if (!carries_udp()) co_return co_await associate(loop, flow);  // which says so
    auto upstream = co_await inner().associate_to_name(loop, flow, hints);
    if (upstream) upstream->header += header_for(flow, hints, upstream->looked_up);
    co_return upstream;
  }

 private:
  Task<Expected<Upstream>> introduce(EventLoop& loop, Upstream upstream, const Flow& flow,
                                     const Hints& hints) const {
    send_without_delay(upstream.socket.fd());  // else the client's bytes wait for the header's ACK
    const std::string header = header_for(flow, hints, upstream.looked_up);
    const int flags = first_bytes_wait(hints) ? MSG_MORE : 0;
    const Deadline deadline(flow.dial_ms(limits::kHandshakeTimeoutMs));
    auto sent = co_await send_all(loop, upstream, header, deadline, flags);
    if (!sent) co_return unexpected(std::move(sent).error());
    co_return upstream;
  }

  // A health check has no client: it is shunt's own connection.
  std::string header_for(const Flow& flow, const Hints& hints,
                         const std::optional<Endpoint>& looked_up) const {
    Header header{.version = version_,
                  .local = flow.source == Endpoint{},
                  .protocol = flow.protocol,
                  .source = flow.source,
                  .destination = looked_up.value_or(flow.original_destination)};
    if (version_ == Version::v1) return proxy_protocol::encode_v1(header);
    std::string unique_id = fmt::format("{:016x}-{:x}", process_nonce(), flow.id);
    if (!header.local) header.authority = sendable_name(hints.host);
    if (flow.announced != nullptr) {  // what a header said before goes on as it came
      if (!flow.announced->unique_id.empty()) unique_id = flow.announced->unique_id;
      header.alpn = flow.announced->alpn;
    }
    header.unique_id = unique_id;
    return proxy_protocol::encode_v2(header);
  }

  Version version_;
};

}  // namespace

std::shared_ptr<const WayOut> make_proxy_protocol_out(std::shared_ptr<const WayOut> inner,
                                                      Version version) {
  return std::make_shared<ProxyProtocolOut>(std::move(inner), version);
}

}  // namespace shunt
