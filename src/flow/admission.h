// SPDX-License-Identifier: GPL-2.0-only
// What a capture yields for one TCP connection, and how its client is let in or turned away.
//
// An accepted client is let in at once and can only be turned away by a reset. A held one (its SYN
// is waiting in a queue) is told the true result of the dial. serve() treats both alike: it dials
// first and then calls exactly one of admit(), refuse() and drop().
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "flow/failure.h"
#include "flow/flow.h"
#include "net/event_loop.h"
#include "net/task.h"
#include "net/unique_fd.h"

namespace shunt {

/// When a client is let in. automatic: once the upstream is connected, where the capture can hold
/// the client and nothing of its bytes is needed first.
enum class ConnectMode : std::uint8_t {
  automatic,
  honest,  ///< held also where a way out would like to know a name first
  early,   ///< let in first; a failure is then a reset
};

/// Of "honest" or "early"; automatic for every other word.
[[nodiscard]] constexpr ConnectMode connect_mode_of(std::string_view word) {
  if (word == "honest") return ConnectMode::honest;
  return word == "early" ? ConnectMode::early : ConnectMode::automatic;
}

class Admission {
 public:
  virtual ~Admission() = default;
  /// Lets the client in; yields its connected, non-blocking socket. A held client may have gone
  /// away meanwhile: then the failure says so, and nothing is left to refuse.
  virtual Task<std::expected<UniqueFd, ConnectFailure>> admit() = 0;
  /// Turns the client away: a held one with the matching error, an accepted one with a reset.
  virtual void refuse(const ConnectFailure& failure) = 0;
  /// Turns the client away without telling it: a held one's SYN vanishes. Of an accepted one yields
  /// the socket, for somebody who keeps it silent.
  virtual UniqueFd drop() = 0;
  /// The client's socket before admit(), or -1 while it is held: where a sniffer may peek.
  [[nodiscard]] virtual int peekable_fd() const = 0;
  /// The interface that it came in by; "": none, it is this machine's own. Empty optional: not
  /// known.
  [[nodiscard]] virtual std::optional<std::string> arrival_interface() const = 0;
};

/// Learns the ends of a flow that its socket does not show: from a PROXY header.
class Introduction {
 public:
  virtual ~Introduction() = default;
  /// Fills in source and original destination, and takes of the client's bytes (`fd`, connected)
  /// exactly what says so. The wait has a deadline. The task must not outlive this.
  virtual Task<std::expected<void, ConnectFailure>> learn(EventLoop& loop, int fd, Flow& flow) = 0;
};

struct Captured {
  Flow flow;
  std::unique_ptr<Admission> client;
  std::unique_ptr<Introduction> introduction = nullptr;  ///< null: both ends are known
};

}  // namespace shunt
