// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/tun.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error_numbers.h"
#include "kernel/links.h"
#include "kernel/sysctl.h"

namespace shunt {
namespace {

constexpr const char* kDevice = "/dev/net/tun";

/// Opens a device; `name` becomes the one that the kernel gave it.
Result<UniqueFd> attach(std::string& name) {
  UniqueFd fd(::open(kDevice, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return Failure(explain_tun_refusal(errno));
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    return Failure(errno_error(fmt::format("make the TUN device {}", name)));
  }
  name = request.ifr_name;
  return fd;
}

Result<void> bring_up(const std::string& name) {
  SHUNT_CHECK(disable_address_generation(name));
  // A host that disables IPv6 by default would refuse an IPv6 route through this device too. The
  // setting goes with the device, so it needs no journal; where /proc/sys is read-only or has no
  // IPv6, adding the route says so.
  const auto path = fmt::format("net/ipv6/conf/{}/disable_ipv6", name);
  if (const auto value = read_sysctl(path); value && *value != "0") {
    static_cast<void>(write_sysctl(path, "0"));
  }
  return set_link_up(name);
}

}  // namespace

Error explain_tun_refusal(int os_error) {
  Error error = errno_error(fmt::format("open {}", kDevice), os_error);
  error.number = error_number::kNoTun;
  switch (os_error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      error.kind = Kind::unsupported;
      error.help = "sudo modprobe tun; in a container, pass the device in (--device /dev/net/tun)";
      break;
    case EACCES:
      error.help = "sudo chmod 666 /dev/net/tun, as udev has it, or run it with sudo";
      break;
    case EPERM:
      error.help =
          "the container's device rules forbid it: pass the device in (--device /dev/net/tun)";
      break;
    default: break;
  }
  return error;
}

Result<void> check_tun_access() {
  const UniqueFd fd(::open(kDevice, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return Failure(explain_tun_refusal(errno));
  return {};
}

Result<TunDevice> TunDevice::create(std::string name) {
  auto fd = SHUNT_TRY(attach(name));
  SHUNT_CHECK(bring_up(name));
  return TunDevice(HeldFd(std::move(fd)), std::move(name));
}

Result<bool> TunDevice::restore() {
  ifreq request{};
  // EBADFD: the device behind the descriptor was deleted (tun_chr_ioctl()).
  if (::ioctl(fd_.get(), TUNGETIFF, &request) != 0) {
    fd_.reset();
    fd_ = HeldFd(SHUNT_TRY(attach(name_)));
    SHUNT_CHECK(bring_up(name_));
    return true;
  }
  const auto links = SHUNT_TRY(list_links());
  const auto ours = std::ranges::find(links, name_, &Link::name);
  if (ours != links.end() && ours->up) return false;
  SHUNT_CHECK(bring_up(name_));
  return true;
}

}  // namespace shunt
