// SPDX-License-Identifier: GPL-2.0-only
#include "egress/way_out.h"

#include <expected>
#include <utility>

#include "flow/name_resolver.h"
#include "net/socket.h"

namespace shunt {
namespace {

template <class T>
using Expected = std::expected<T, ConnectFailure>;

/// Of the same name.
bool another_address_may_do(ConnectReason reason) {
  return reason != ConnectReason::cancelled && reason != ConnectReason::resources &&
         reason != ConnectReason::denied && reason != ConnectReason::proxy_error;
}

/// Looks the name up, and has `carry` try its addresses one after the other.
template <class Carried, class Carry>
Task<Expected<Carried>> to_an_address(const Flow& flow, const Hints& hints, const Carry& carry) {
  const auto addresses = co_await hints.resolver->resolve(flow, hints.host);
  if (!addresses) co_return std::unexpected(addresses.error());
  Flow to = flow;
  ConnectFailure last;
  for (const Endpoint& address : *addresses) {
    to.original_destination = address;
    auto upstream = co_await carry(to);
    if (upstream) {
      upstream->looked_up = address;
      co_return upstream;
    }
    last = std::move(upstream).error();
    if (!another_address_may_do(last.reason)) break;
  }
  co_return std::unexpected(std::move(last));
}

}  // namespace

ReportedUpstream::ReportedUpstream(UpstreamObserver* observer, int fd, const Endpoint& remote,
                                   const Endpoint* client) {
  if (observer == nullptr) return;
  const auto local = local_endpoint(fd);
  if (!local) {
    observer->not_opened();
    return;
  }
  observer_ = observer;
  local_ = *local;
  remote_ = remote;
  if (client != nullptr) {
    observer_->opened_for_client(local_, remote_, *client);
  } else {
    observer_->opened(local_, remote_);
  }
}

Task<Expected<UdpUpstream>> WayOut::open_mapping(EventLoop& /*loop*/, const Flow& /*flow*/) const {
  co_return std::unexpected(ConnectFailure{
      .reason = ConnectReason::unsupported, .os_error = 0, .detail = "it maps no clients"});
}

Task<std::expected<void, ConnectFailure>> WayOut::greet(EventLoop& /*loop*/,
                                                        Clock::time_point /*by*/) const {
  co_return std::unexpected(ConnectFailure{
      .reason = ConnectReason::unsupported, .os_error = 0, .detail = "there is no proxy to ask"});
}

Task<Expected<Upstream>> WayOut::connect_to_name(EventLoop& loop, const Flow& flow,
                                                 const Hints& hints) const {
  const Hints unnamed;
  const auto carry = [&](const Flow& to) { return connect(loop, to, unnamed); };
  co_return co_await to_an_address<Upstream>(flow, hints, carry);
}

// Nothing is heard of a datagram's destination yet: the first address that has a route is taken.
Task<Expected<UdpUpstream>> WayOut::associate_to_name(EventLoop& loop, const Flow& flow,
                                                      const Hints& hints) const {
  const auto carry = [&](const Flow& to) { return associate(loop, to); };
  co_return co_await to_an_address<UdpUpstream>(flow, hints, carry);
}

}  // namespace shunt
