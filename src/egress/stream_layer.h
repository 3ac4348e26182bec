// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/types.h>

#include <cstddef>

namespace shunt {

/// A byte stream on top of a non-blocking socket that belongs to somebody else. Never blocks; each
/// call answers as send(2) and recv(2) do, with errno: EAGAIN means that the socket has to become
/// ready first (for a layer above another one: the socket at the bottom).
class StreamLayer {
 public:
  virtual ~StreamLayer() = default;
  /// After EAGAIN, call again with the same bytes first.
  virtual ssize_t send(const char* bytes, std::size_t size) = 0;
  /// 0 is an end that the peer has said; a connection that just breaks off is ECONNRESET.
  virtual ssize_t receive(char* bytes, std::size_t size) = 0;
  /// Says that nothing more will be sent; receiving goes on. 0, or -1 with errno (EAGAIN: again).
  virtual int finish_sending() = 0;
};

}  // namespace shunt
