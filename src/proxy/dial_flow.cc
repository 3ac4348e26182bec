// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dial_flow.h"

#include <utility>

#include "flow/name_resolver.h"

namespace shunt {

template <class T>
using Expected = std::expected<T, ConnectFailure>;

Task<Expected<Upstream>> dial_flow(EventLoop& loop, const WayOut& way_out, const Flow& flow,
                                   const Hints& hints) {
  if (hints.resolver != nullptr) return way_out.connect_to_name(loop, flow, hints);
  return way_out.connect(loop, flow, hints);
}

Task<Expected<UdpUpstream>> associate_flow(EventLoop& loop, const WayOut& way_out, const Flow& flow,
                                           const Hints& hints) {
  if (hints.resolver == nullptr) co_return co_await way_out.associate(loop, flow);
  auto upstream = co_await way_out.associate_to_name(loop, flow, hints);
  const bool nobody_knows = !upstream && !hints.resolver->can_resolve() &&
                            upstream.error().reason == ConnectReason::host_unreachable;
  if (!nobody_knows) co_return upstream;
  ConnectFailure failure = std::move(upstream).error();
  failure.reason = ConnectReason::unsupported;
  co_return std::unexpected(std::move(failure));
}

}  // namespace shunt
