// SPDX-License-Identifier: GPL-2.0-only
// The process that makes a capture namespace and stays in it (see capture_namespace.h), and the
// records that it exchanges with its maker:
//
// clang-format off
//   holder: kFailed + an Error, or kReady + '6' or '4' (no IPv6) + why nothing is held ("": it is);
//           descriptors: sock_diag, network namespace, user namespace (only if it has its own)
//   holder: for each worker kListeners + kWithQueue or kWithoutQueue; descriptors: the queue's
//           socket if there is one, then TCP, then UDP, which not all have
//   maker:  kMakeSockets + SocketRequest     holder: kSockets with descriptors, or kFailed + …
//   maker:  kChangeNetwork + host_network_record()   holder: kChanged, or kFailed + …
// clang-format on
#pragma once

#include <algorithm>
#include <cstdint>

#include "capture/capture_namespace.h"
#include "kernel/marks.h"
#include "net/unique_fd.h"

namespace shunt {

/// On every socket of shunt's in the namespace. The namespace is ours alone: any number will do.
inline constexpr std::uint32_t kNamespaceMark = 0x5348;
/// Below the range of ephemeral ports, and of no use to anybody since tcpmux died.
inline constexpr std::uint16_t kNamespaceListenPort = 1;
/// Datagrams come to the ports from that one on: 7 is the echo service's.
inline constexpr unsigned kNamespaceUdpListeners = 6;

/// For held connections (capture/hold.h): the upper byte, which kNamespaceMark leaves alone.
inline constexpr Marks kNamespaceHoldMarks{
    .mask = 0xff00'0000, .forwarded = 0x0100'0000, .own = 0x0200'0000, .egress = 0x0300'0000};

inline constexpr char kFailed = 'f';  ///< followed by error_record()
inline constexpr char kReady = 'r';
inline constexpr char kListeners = 'l';
inline constexpr char kWithQueue = 'q';
inline constexpr char kWithoutQueue = '-';
inline constexpr char kMakeSockets = 'm';
inline constexpr char kSockets = 's';
inline constexpr char kChangeNetwork = 'n';
inline constexpr char kChanged = 'c';

struct SocketRequest {
  char family;  ///< '4' or '6'
  char type;    ///< 'u' bound UDP, 'r' raw
  std::uint8_t count;
};

[[nodiscard]] inline unsigned udp_listeners(const CaptureNamespaceOptions& options) {
  return options.shares_udp ? std::min(options.workers, kNamespaceUdpListeners) : 1;
}

/// The holder's whole life, in a freshly forked process.
[[noreturn]] void hold_namespace(UniqueFd channel, CaptureNamespaceOptions options);

}  // namespace shunt
