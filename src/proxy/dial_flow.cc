// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dial_flow.h"

#include <utility>
#include <vector>

namespace shunt {
namespace {

template <class T>
using Expected = std::expected<T, ConnectFailure>;

bool is_fake(DnsService* dns, const Flow& flow) {
  return dns != nullptr && dns->is_fake(flow.original_destination.address);
}

/// Where another address of the same name may do better.
bool worth_another(ConnectReason reason) {
  return reason != ConnectReason::cancelled && reason != ConnectReason::resources &&
         reason != ConnectReason::denied && reason != ConnectReason::proxy_error;
}

Task<Expected<std::vector<Flow>>> flows_to(DnsService& dns, const Flow& flow,
                                           const std::string& name) {
  auto addresses = co_await dns.resolve(name);
  if (!addresses) co_return std::unexpected(std::move(addresses).error());
  const Family dialled = flow.original_destination.address.family();
  std::vector<Flow> flows;
  for (const bool first : {true, false}) {
    for (const Address& address : *addresses) {
      if ((address.family() == dialled) != first) continue;
      flows.push_back(flow);
      flows.back().original_destination.address = address;
    }
  }
  co_return flows;
}

}  // namespace

Task<Expected<Upstream>> dial_flow(EventLoop& loop, const WayOut& way_out, const Flow& flow,
                                   const Hints& hints, DnsService* dns) {
  const bool sends_name = dns != nullptr && !dns->can_resolve() && way_out.wants_name();
  if (!is_fake(dns, flow) || sends_name) co_return co_await way_out.connect(loop, flow, hints);
  const auto flows = co_await flows_to(*dns, flow, hints.host);
  if (!flows) co_return std::unexpected(flows.error());
  ConnectFailure last;
  for (const Flow& to_address : *flows) {
    auto upstream = co_await way_out.connect(loop, to_address, hints);
    if (upstream) co_return upstream;
    last = std::move(upstream).error();
    if (!worth_another(last.reason)) break;
  }
  co_return std::unexpected(std::move(last));
}

Task<Expected<UdpUpstream>> associate_flow(EventLoop& loop, const WayOut& way_out, const Flow& flow,
                                           const std::string& name, DnsService* dns) {
  if (!is_fake(dns, flow)) co_return co_await way_out.associate(loop, flow);
  const auto flows = co_await flows_to(*dns, flow, name);
  if (flows) co_return co_await way_out.associate(loop, flows->front());
  ConnectFailure failure = flows.error();
  if (!dns->can_resolve()) failure.reason = ConnectReason::unsupported;  // the client turns to TCP
  co_return std::unexpected(std::move(failure));
}

}  // namespace shunt
