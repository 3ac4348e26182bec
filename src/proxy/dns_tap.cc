// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_tap.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "dns/limits.h"
#include "dns/message.h"
#include "proxy/dns_watch.h"

namespace shunt {
namespace {

constexpr std::size_t kLengthBytes = 2;

/// One direction: whole messages, one after the other.
class Messages {
 public:
  void feed(std::string_view bytes) {
    const std::size_t unseen = std::min(bytes.size(), passing_);
    passing_ -= unseen;
    bytes.remove_prefix(unseen);
    // What is stored is at most one message and what came with its end.
    received_ += bytes;
  }

  /// Empty: there is none yet.
  std::optional<std::string> take() {
    while (received_.size() >= kLengthBytes) {
      const auto byte = [this](std::size_t i) { return static_cast<unsigned char>(received_[i]); };
      const std::size_t whole = kLengthBytes + (byte(0) << 8 | byte(1));
      if (whole < kLengthBytes + dns::kHeaderBytes) broken_ = true;
      if (broken_) return std::nullopt;
      if (whole > limits::kDnsSeenBytes) {
        passing_ = whole - std::min(whole, received_.size());
        received_.erase(0, whole);
        continue;
      }
      if (received_.size() < whole) return std::nullopt;
      std::string message = received_.substr(kLengthBytes, whole - kLengthBytes);
      received_.erase(0, whole);
      return message;
    }
    return std::nullopt;
  }

  [[nodiscard]] bool broken() const { return broken_; }

 private:
  std::string received_;
  std::size_t passing_ = 0;  ///< bytes of a message that is too long
  bool broken_ = false;
};

class DnsTap final : public Tap {
 public:
  DnsTap(dns::Memory& memory, const Flow& flow, std::unique_ptr<Tap> inner)
      : watch_(memory, flow), inner_(std::move(inner)) {}

  void observe(Side side, std::string_view bytes) override {
    if (!blind_) look(side, bytes);
    if (inner_) inner_->observe(side, bytes);
  }
  [[nodiscard]] bool objects() const override { return inner_ && inner_->objects(); }
  void skip(Side side, std::uint64_t count) override {
    if (inner_) inner_->skip(side, count);
  }
  [[nodiscard]] std::uint64_t uninteresting(Side side) const override {
    if (!blind_) return 0;
    return inner_ ? inner_->uninteresting(side) : kEverything;
  }
  void end(Side side) override {
    if (inner_) inner_->end(side);
  }
  void finish() override {
    if (inner_) inner_->finish();
    stop();
  }

 private:
  void look(Side side, std::string_view bytes) {
    Messages& messages = side == Side::client ? queries_ : answers_;
    messages.feed(bytes);
    while (const auto message = messages.take()) {
      side == Side::client ? watch_.asked(*message) : watch_.answered(*message);
    }
    if (messages.broken()) stop();
  }

  void stop() {
    blind_ = true;
    queries_ = {};
    answers_ = {};
  }

  DnsWatch watch_;
  Messages queries_;
  Messages answers_;
  std::unique_ptr<Tap> inner_;
  bool blind_ = false;
};

}  // namespace

std::unique_ptr<Tap> make_dns_tap(dns::Memory& memory, const Flow& flow,
                                  std::unique_ptr<Tap> inner) {
  return std::make_unique<DnsTap>(memory, flow, std::move(inner));
}

}  // namespace shunt
