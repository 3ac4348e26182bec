// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt::control {

/// A unix socket's address by way of its folder's descriptor, since sun_path takes 107 bytes and a
/// path may have 4095. Valid while this lives.
class SocketPath {
 public:
  static Result<SocketPath> create(const std::string& path);
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  [[nodiscard]] static socklen_t size() { return sizeof(sockaddr_un); }

 private:
  SocketPath() = default;
  UniqueFd folder_;
  sockaddr_un address_{};
};

}  // namespace shunt::control
