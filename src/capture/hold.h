// SPDX-License-Identifier: GPL-2.0-only
// The nftables text that holds new connections until the upstream has answered. Pure, but for
// append_queue_rules().
//
// A chain that has decided to capture a SYN goes to `hold`. There it is given the mark of a worker,
// by its source port so that a repeated SYN finds the same one, and queued for it. The verdict
// (capture/held_connections.h) lets it go on behind the base chain, with a mark that a chain of the
// next priority obeys: `held` leads to the listener, the others to a `reject`. Whatever happens to
// the queue, such as nobody reading it, the packet goes on with the mark `held`: the client is let
// in first then.
//
// The other queue rule is for later segments. The worker that gives the verdict makes the kernel
// finish the handshake on its own processor, so a client's first data may be looked up on another
// one while the request's socket is being replaced by a full one, and find neither (lockless
// lookup; measured: 1 in 400 connections). Such a segment is queued, and comes through its chain
// once more.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernel/marks.h"
#include "kernel/nft.h"
#include "kernel/queue_rule.h"

namespace shunt {

struct HoldSpec {
  HoldMarks marks;
  std::uint16_t first_queue = 0;
  unsigned queues = 1;     ///< one for each worker, up to HoldMarks::most_workers
  bool by_target = false;  ///< nft has no `queue` here: append_queue_rules()
  bool operator==(const HoldSpec&) const = default;
};

namespace hold {

inline constexpr std::string_view kHold = "hold";        ///< chain: `goto` it with a SYN
inline constexpr std::string_view kRequeue = "requeue";  ///< chain: `jump` to it with a segment

/// Port on which nobody listens: `tproxy` to it finds sockets of connections alone.
inline constexpr std::uint16_t kNoListener = 2;

/// nft: sets `value` in the bits of `marks`; the worker's number is cleared, or kept with
/// `keep_worker`.
[[nodiscard]] std::string set_mark(const HoldMarks& marks, std::uint32_t value,
                                   bool keep_worker = false);
/// The chains `hold` and `requeue`, and those that they lead to.
[[nodiscard]] std::string chains(const HoldSpec& spec);
/// Statements that obey a refusing verdict.
[[nodiscard]] std::vector<std::string> refusals(const HoldMarks& marks);
/// Statements for a TCP segment: to its socket, with `then` in front of the verdict `accept`.
[[nodiscard]] std::vector<std::string> to_socket(bool ipv6, std::string_view then);
/// What of the chains nft has no text for, in words: "chain hold_0: queue num 21248 bypass".
[[nodiscard]] std::vector<std::string> described_rules(const HoldSpec& spec);

/// Completes the chains where HoldSpec::by_target; else does nothing.
Result<void> append_queue_rules(NftContext& owner, std::string_view table, const HoldSpec& spec);

}  // namespace hold
}  // namespace shunt
