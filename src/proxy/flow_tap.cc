// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/flow_tap.h"

#include <utility>

#include "proxy/http_tap.h"
#include "proxy/tls_tap.h"

namespace shunt {
namespace {

constexpr char kTlsHandshakeRecord = 0x16;

class FlowTap final : public Tap {
 public:
  FlowTap(const Flow& flow, FlowLog& log, std::unique_ptr<RequestGuard> guard)
      : flow_(flow), log_(log), guard_(std::move(guard)) {
    if (guard_ != nullptr && guard_->strict()) follow_http();
  }

  void observe(Side side, std::string_view bytes) override {
    if (over_ || bytes.empty()) return;
    if (!protocol_) choose(side, bytes.front());
    if (protocol_) protocol_->observe(side, bytes);
    drop_when_blind();
  }

  void skip(Side side, std::uint64_t count) override {
    if (protocol_) protocol_->skip(side, count);
    drop_when_blind();
  }

  [[nodiscard]] std::uint64_t uninteresting(Side side) const override {
    if (protocol_) return protocol_->uninteresting(side);
    return over_ ? kEverything : 0;
  }

  [[nodiscard]] bool objects() const override { return protocol_ && protocol_->objects(); }

  void end(Side side) override {
    if (protocol_) protocol_->end(side);
    drop_when_blind();
  }

  void finish() override {
    if (protocol_) protocol_->finish();
    protocol_.reset();
    over_ = true;
  }

 private:
  /// A server that speaks first speaks neither HTTP nor TLS.
  void choose(Side side, char first) {
    if (side == Side::upstream) {
      over_ = true;
    } else if (first == kTlsHandshakeRecord) {
      protocol_ = std::make_unique<TlsTap>(flow_, log_, std::move(guard_));
    } else {
      follow_http();
    }
  }

  void follow_http() { protocol_ = std::make_unique<HttpTap>(flow_, log_, std::move(guard_)); }

  void drop_when_blind() {
    if (!protocol_ || protocol_->uninteresting(Side::client) != kEverything ||
        protocol_->uninteresting(Side::upstream) != kEverything) {
      return;
    }
    finish();
  }

  const Flow& flow_;
  FlowLog& log_;
  std::unique_ptr<RequestGuard> guard_;  // until the protocol's tap has it
  std::unique_ptr<Tap> protocol_;
  bool over_ = false;
};

}  // namespace

std::unique_ptr<Tap> make_flow_tap(const Flow& flow, FlowLog& log,
                                   std::unique_ptr<RequestGuard> guard) {
  return std::make_unique<FlowTap>(flow, log, std::move(guard));
}

}  // namespace shunt
