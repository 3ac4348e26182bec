// SPDX-License-Identifier: GPL-2.0-only
#include "egress/direct.h"

#include <optional>
#include <utility>

#include "egress/dial.h"
#include "egress/race.h"
#include "flow/name_resolver.h"

namespace shunt {
namespace {

class Direct : public WayOut {
 public:
  Direct(UpstreamOptions options, std::string name)
      : options_(std::move(options)), name_(std::move(name)) {}

  std::string_view name() const override { return name_; }
  bool wants_name() const override { return false; }
  bool carries_udp() const override { return true; }

  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                        const Hints&) const override {
    const auto tagged = tagged_for(flow);
    auto dialled = co_await dial_tcp(loop, flow.original_destination, tagged ? *tagged : options_,
                                     flow.dial_ms(options_.connect_timeout_ms));
    if (!dialled) co_return std::unexpected(std::move(dialled).error());
    co_return Upstream{.socket = std::move(dialled->socket),
                       .reported = std::move(dialled->reported),
                       .early_data = {}};
  }

  Task<std::expected<Upstream, ConnectFailure>> connect_to_name(EventLoop& loop, const Flow& flow,
                                                                const Hints& hints) const override {
    const auto addresses = co_await hints.resolver->resolve(flow, hints.host);
    if (!addresses) co_return std::unexpected(addresses.error());
    const auto tagged = tagged_for(flow);
    auto won = co_await race(loop, attempt_order(*addresses, 0), tagged ? *tagged : options_,
                             flow.dial_ms(options_.connect_timeout_ms));
    if (!won) co_return std::unexpected(std::move(won).error());
    co_return Upstream{.socket = std::move(won->dialled.socket),
                       .reported = std::move(won->dialled.reported),
                       .early_data = {},
                       .looked_up = won->address};
  }

  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& loop,
                                                             const Flow& flow) const override {
    auto dialled = dial_udp(loop, flow.original_destination, options_);
    if (!dialled) co_return std::unexpected(std::move(dialled).error());
    UdpUpstream upstream;
    upstream.socket = std::move(dialled->socket);
    upstream.reported = std::move(dialled->reported);
    co_return upstream;
  }

  bool maps_clients() const override { return true; }
  Task<std::expected<UdpUpstream, ConnectFailure>> open_mapping(EventLoop& loop,
                                                                const Flow& flow) const override {
    auto opened = open_unconnected(loop, flow, options_);
    if (!opened) co_return std::unexpected(std::move(opened).error());
    UdpUpstream upstream;
    upstream.socket = std::move(opened->socket);
    upstream.reported = std::move(opened->reported);
    co_return upstream;
  }

 private:
  /// With the client for a TCP option; a check has none.
  std::optional<UpstreamOptions> tagged_for(const Flow& flow) const {
    if (options_.toa == nullptr || flow.source.port == 0) return std::nullopt;
    UpstreamOptions tagged = options_;
    tagged.client = flow.source;
    return tagged;
  }

  UpstreamOptions options_;
  std::string name_;
};

}  // namespace

std::shared_ptr<const WayOut> make_direct(const UpstreamOptions& options, std::string name) {
  return std::make_shared<Direct>(options, std::move(name));
}

}  // namespace shunt
