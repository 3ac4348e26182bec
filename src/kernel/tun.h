// SPDX-License-Identifier: GPL-2.0-only
// A TUN device that carries nothing: it is there to be named by routes. It is not persistent, so
// the kernel removes it, and with it every route through it, when its descriptor closes
// (tuntap.rst). A `local` route does not send through the device it names; it only needs one that
// exists.
#pragma once

#include <string>

#include "base/result.h"
#include "kernel/held_fd.h"

namespace shunt {

/// Why /dev/net/tun cannot be opened, from open(2)'s errno, and what mends it: its module, its mode
/// (udev makes it 0666), or a container's device cgroup, which says EPERM.
Error explain_tun_refusal(int os_error);
/// May this process open it?
Result<void> check_tun_access();

class TunDevice {
 public:
  /// Makes the device in the calling thread's network namespace, without addresses, and brings it
  /// up. `name` may hold one %d. Needs CAP_NET_ADMIN and /dev/net/tun.
  static Result<TunDevice> create(std::string name = "shunt%d");

  [[nodiscard]] const std::string& name() const { return name_; }
  /// Puts the device back as it was made, under the same name, if somebody deleted it or took it
  /// down. True when something had to be done: routes through it are then gone.
  Result<bool> restore();

 private:
  TunDevice(HeldFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  HeldFd fd_;
  std::string name_;
};

}  // namespace shunt
