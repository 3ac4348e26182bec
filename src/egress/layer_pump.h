// SPDX-License-Identifier: GPL-2.0-only
// The relay moves bytes between two sockets. Where something stands between an upstream's socket
// and its bytes (StreamLayer), the relay gets one end of a socket pair instead, and a LayerPump
// carries everything between the other end and the layer, on the same loop:
//
//   client socket <- relay -> near end | far end <- pump -> layer -> upstream socket
//
// An end said by one side (FIN here, close_notify there) is said to the other; a connection that
// breaks off is a reset on both sides, so that the relay reports and passes on what it always does.
// Memory is bounded: a direction reads no further while anything that it read is unsent.
#pragma once

#include <optional>
#include <string>

#include "egress/dial.h"
#include "egress/way_out.h"

namespace shunt {

class LayerPump {
 public:
  static constexpr std::size_t kReadBytes = 16 * 1024;  ///< one TLS record
  static constexpr int kPairBufferBytes = 64 * 1024;    ///< asked for, of each end
  static constexpr int kTurnReads = 16;                 ///< before others have their turn
  static constexpr std::uint32_t kLingerMs = 10'000;    ///< to send the rest after the relay's end

  /// Takes the upstream, which has a layer, and makes the pair: two descriptors more.
  static std::expected<std::unique_ptr<LayerPump>, ConnectFailure> create(EventLoop& loop,
                                                                          Upstream upstream);
  /// What the relay is to take for the upstream.
  [[nodiscard]] WatchedFd& near_end() { return near_; }

  /// Until everything is carried and said, or relay_ended() has ended it. Run it beside the relay.
  Task<> run();
  /// The relay has returned: in order, or broken off. Closes the near end.
  void relay_ended(bool in_order);
  /// The upstream's side broke off, whatever the relay saw of it.
  [[nodiscard]] bool upstream_broke() const { return upstream_broke_; }

 private:
  LayerPump(EventLoop& loop, Upstream upstream, WatchedFd near, WatchedFd far)
      : loop_(loop), upstream_(std::move(upstream)), near_(std::move(near)), far_(std::move(far)) {}
  Task<> carry_up();
  Task<> carry_down();
  Task<bool> send_up(std::string_view bytes);
  Task<bool> send_down(std::string_view bytes);
  Task<bool> say_end();
  Task<bool> ready(Slot& slot, std::uint8_t bit);
  void break_off();
  void reset_near_end();

  EventLoop& loop_;
  Upstream upstream_;
  WatchedFd near_;
  WatchedFd far_;
  std::optional<Deadline> linger_;
  bool broken_ = false;
  bool upstream_broke_ = false;
};

}  // namespace shunt
