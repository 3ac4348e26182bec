// SPDX-License-Identifier: GPL-2.0-only
// Descriptors handed from process to process over a Unix socket (SCM_RIGHTS, unix(7)).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt {

/// The kernel takes no more in one message (SCM_MAX_FD, net/scm.h).
inline constexpr std::size_t kMaxPassedFds = 253;
inline constexpr std::size_t kMaxPassedBytes = 4096;

/// One record: the bytes (at least one, at most kMaxPassedBytes) and the descriptors. They stay
/// open here. No SIGPIPE.
Result<void> send_record(int socket, std::string_view bytes, std::span<const int> fds = {});

struct Record {
  std::string bytes;  ///< empty: the other end is closed
  std::vector<UniqueFd> fds;
};

/// Waits for one record. Descriptors are close-on-exec. A record that was cut short is an Error.
Result<Record> receive_record(int socket);

/// Two connected SOCK_SEQPACKET ends, close-on-exec, blocking.
Result<std::pair<UniqueFd, UniqueFd>> make_record_channel();

}  // namespace shunt
