// SPDX-License-Identifier: GPL-2.0-only
#include "egress/chain.h"

#include <utility>

#include "egress/wrapped_way_out.h"

namespace shunt {
namespace {

/// The log names the chain, not what a group in it chose.
template <class T>
std::expected<T, ConnectFailure> by_the_chain(std::expected<T, ConnectFailure> upstream) {
  (upstream ? upstream->via : upstream.error().via) = {};
  return upstream;
}

class Chain : public WrappedWayOut {
 public:
  Chain(std::string name, std::shared_ptr<const WayOut> last)
      : WrappedWayOut(std::move(last)), name_(std::move(name)) {}

  std::string_view name() const override { return name_; }

  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop& loop, const Flow& flow,
                                                        const Hints& hints) const override {
    co_return by_the_chain(co_await inner().connect(loop, flow, hints));
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop& loop,
                                                             const Flow& flow) const override {
    co_return by_the_chain(co_await inner().associate(loop, flow));
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> open_mapping(EventLoop& loop,
                                                                const Flow& flow) const override {
    co_return by_the_chain(co_await inner().open_mapping(loop, flow));
  }
  Task<std::expected<Upstream, ConnectFailure>> connect_to_name(EventLoop& loop, const Flow& flow,
                                                                const Hints& hints) const override {
    co_return by_the_chain(co_await inner().connect_to_name(loop, flow, hints));
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate_to_name(
      EventLoop& loop, const Flow& flow, const Hints& hints) const override {
    co_return by_the_chain(co_await inner().associate_to_name(loop, flow, hints));
  }

 private:
  std::string name_;
};

}  // namespace

std::shared_ptr<const WayOut> make_chain(std::string name, std::shared_ptr<const WayOut> last) {
  return std::make_shared<Chain>(std::move(name), std::move(last));
}

}  // namespace shunt
