// SPDX-License-Identifier: GPL-2.0-only
// What stands in front of another way out derives from this, and overrides what it changes: the
// defaults of WayOut are those of one that looks names up by itself and has no proxy.
#pragma once

#include <memory>
#include <utility>

#include "egress/way_out.h"

namespace shunt {

class WrappedWayOut : public WayOut {
 public:
  [[nodiscard]] std::string_view name() const override { return inner_->name(); }
  [[nodiscard]] bool wants_name() const override { return inner_->wants_name(); }
  [[nodiscard]] bool carries_udp() const override { return inner_->carries_udp(); }
  [[nodiscard]] bool reaches_relays() const override { return inner_->reaches_relays(); }
  [[nodiscard]] ConnectMode connect_mode() const override { return inner_->connect_mode(); }
  [[nodiscard]] std::span<const Endpoint> proxies() const override { return inner_->proxies(); }

  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                        const Hints& hints) const override {
    return inner_->connect(loop, flow, hints);
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& loop,
                                                             const Flow& flow) const override {
    return inner_->associate(loop, flow);
  }
  [[nodiscard]] bool maps_clients() const override { return inner_->maps_clients(); }
  Task<std::expected<UdpUpstream, ConnectFailure>> open_mapping(EventLoop& loop,
                                                                const Flow& flow) const override {
    return inner_->open_mapping(loop, flow);
  }
  [[nodiscard]] bool still_maps(const UdpUpstream& mapping, Family family) const override {
    return inner_->still_maps(mapping, family);
  }
  Task<std::expected<void, ConnectFailure>> greet(EventLoop& loop,
                                                  Clock::time_point by) const override {
    return inner_->greet(loop, by);
  }
  Task<std::expected<Upstream, ConnectFailure>> connect_to_name(EventLoop& loop, const Flow& flow,
                                                                const Hints& hints) const override {
    return inner_->connect_to_name(loop, flow, hints);
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate_to_name(
      EventLoop& loop, const Flow& flow, const Hints& hints) const override {
    return inner_->associate_to_name(loop, flow, hints);
  }

 protected:
  explicit WrappedWayOut(std::shared_ptr<const WayOut> inner) : inner_(std::move(inner)) {}
  [[nodiscard]] const WayOut& inner() const { return *inner_; }

 private:
  std::shared_ptr<const WayOut> inner_;
};

}  // namespace shunt
