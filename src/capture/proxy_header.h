// SPDX-License-Identifier: GPL-2.0-only
// PROXY headers that arrive at plain listeners. On TCP the header stands before the client's first
// byte, and not one byte more than the header may be taken from the socket: it is peeked at until
// it is whole, and then consumed exactly. Over UDP each datagram begins with one.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "capture/plain_listeners.h"
#include "flow/proxy_protocol.h"
#include "net/event_loop.h"
#include "net/task.h"

namespace shunt {

/// Waits for a whole header at the beginning of `fd`'s bytes, for at most `wait_ms`, and takes it:
/// yields its bytes. The failure's reason is bad_proxy_header, or cancelled; its detail says what
/// was wrong. `fd` is connected and not watched by the loop.
Task<std::expected<std::string, ConnectFailure>> take_proxy_header(EventLoop& loop, int fd,
                                                                   std::uint32_t wait_ms);

/// Takes the header off a datagram; only version 2 carries UDP.
std::expected<proxy_protocol::Header, ConnectFailure> split_proxy_header(
    std::string_view& datagram);

/// The flow as the header of its sender (flow.source before) tells it: source, original destination
/// and announcement. A LOCAL one, and one of another transport, changes nothing. Fails where the
/// flow then has no destination, or one that no header may name: this machine.
std::expected<void, ConnectFailure> apply_proxy_header(const PlainListener& listener,
                                                       const proxy_protocol::Header& header,
                                                       Flow& flow);

/// Counts and, at a bounded rate, logs that `sender` broke the rules at `listener`.
void note_bad_header(const PlainListener& listener, const Endpoint& sender,
                     std::string_view detail);

}  // namespace shunt
