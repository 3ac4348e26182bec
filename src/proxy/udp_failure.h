// SPDX-License-Identifier: GPL-2.0-only
// What a client of UDP is told, and what is counted, where its datagrams do not arrive.
#pragma once

#include <optional>

#include "base/counters.h"
#include "flow/failure.h"
#include "flow/flow.h"
#include "net/raw_udp.h"

namespace shunt {

/// What a client that sent directly would have been told; nothing where the fault is ours.
[[nodiscard]] std::optional<Undeliverable> undeliverable(ConnectReason reason);

/// The ICMP error behind an errno of a connected socket (icmp_err_convert in net/ipv4/icmp.c and
/// icmpv6_err_convert in net/ipv6/icmp.c); nothing for the others.
[[nodiscard]] std::optional<Undeliverable> undeliverable_from_errno(int error);

[[nodiscard]] Counter counter_of_refusal(ConnectReason reason);

/// Asking again cannot help.
[[nodiscard]] bool is_permanent(ConnectReason reason);

/// Once in a process: without names hardly anything works, and no traffic line says what would
/// help. Does nothing for other failures.
void warn_of_lost_names(const Flow& flow, const ConnectFailure& failure);

}  // namespace shunt
