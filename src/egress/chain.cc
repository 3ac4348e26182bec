// SPDX-License-Identifier: GPL-2.0-only
#include "egress/chain.h"

namespace shunt {
namespace {

/// The log names the chain, not what a group in it chose.
template <class T>
std::expected<T, ConnectFailure> by_the_chain(std::expected<T, ConnectFailure> upstream) {
  (upstream ? upstream->via : upstream.error().via) = {};
  return upstream;
}

class Chain : public WayOut {
 public:
  Chain(std::string name, std::shared_ptr<const WayOut> last)
      : name_(std::move(name)), last_(std::move(last)) {}

  std::string_view name() const override { return name_; }
  bool wants_name() const override { return last_->wants_name(); }
  bool carries_udp() const override { return last_->carries_udp(); }
  bool reaches_relays() const override { return last_->reaches_relays(); }
  ConnectMode connect_mode() const override { return last_->connect_mode(); }
  std::span<const Endpoint> proxies() const override { return last_->proxies(); }

  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                        const Hints& hints) const override {
    co_return by_the_chain(co_await last_->connect(loop, flow, hints));
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& loop,
                                                             const Flow& flow) const override {
    co_return by_the_chain(co_await last_->associate(loop, flow));
  }
  bool maps_clients() const override { return last_->maps_clients(); }
  Task<std::expected<UdpUpstream, ConnectFailure>> open_mapping(EventLoop& loop,
                                                                const Flow& flow) const override {
    co_return by_the_chain(co_await last_->open_mapping(loop, flow));
  }
  bool still_maps(const UdpUpstream& mapping, Family family) const override {
    return last_->still_maps(mapping, family);
  }
  Task<std::expected<void, ConnectFailure>> greet(EventLoop& loop,
                                                  Clock::time_point by) const override {
    return last_->greet(loop, by);
  }
  Task<std::expected<Upstream, ConnectFailure>> connect_to_name(EventLoop& loop, const Flow& flow,
                                                                const Hints& hints) const override {
    co_return by_the_chain(co_await last_->connect_to_name(loop, flow, hints));
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate_to_name(
      EventLoop& loop, const Flow& flow, const Hints& hints) const override {
    co_return by_the_chain(co_await last_->associate_to_name(loop, flow, hints));
  }

 private:
  std::string name_;
  std::shared_ptr<const WayOut> last_;
};

}  // namespace

std::shared_ptr<const WayOut> make_chain(std::string name, std::shared_ptr<const WayOut> last) {
  return std::make_shared<Chain>(std::move(name), std::move(last));
}

}  // namespace shunt
