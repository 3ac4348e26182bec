// SPDX-License-Identifier: GPL-2.0-only
// Why a user namespace is refused (kernel/features.h). Each host has a switch of its own:
//   user.max_user_namespaces = 0                      ENOSPC (user_namespaces(7))
//   kernel.unprivileged_userns_clone = 0              EPERM, Debian's patch, until Debian 11
//   kernel.apparmor_restrict_unprivileged_userns = 1  unshare() works, but what follows gets EPERM
//                                                     or EACCES (Ubuntu 23.10 and later)
//   a seccomp filter (containers)                     EPERM, ENOSYS
//   a chroot                                          EPERM
#include <fmt/format.h>

#include <cerrno>

#include "base/error_numbers.h"
#include "kernel/features.h"
#include "kernel/sysctl.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

bool sysctl_is(std::string_view path, std::string_view value) {
  const auto found = read_sysctl(path);
  return found && *found == value;
}

bool under_seccomp() {
  const auto status = read_text_file("/proc/thread-self/status");
  return status && status->contains("\nSeccomp:\t2");
}

Error refused(int os_error, std::string message, std::string help) {
  return Error{.kind = Kind::unsupported,
               .os_error = os_error,
               .message = std::move(message),
               .help = std::move(help),
               .number = error_number::kNoUserNamespace};
}

}  // namespace

Error explain_user_namespace_refusal(int os_error) {
  const std::string what = "this host refuses user namespaces";
  if (os_error == ENOSPC || sysctl_is("user/max_user_namespaces", "0")) {
    return refused(os_error, what + ": user.max_user_namespaces is exhausted",
                   "sudo sysctl -w user.max_user_namespaces=15000, or run shunt as root");
  }
  if (sysctl_is("kernel/unprivileged_userns_clone", "0")) {
    return refused(os_error, what + ": kernel.unprivileged_userns_clone is 0",
                   "sudo sysctl -w kernel.unprivileged_userns_clone=1, or run shunt as root");
  }
  if (sysctl_is("kernel/apparmor_restrict_unprivileged_userns", "1")) {
    return refused(os_error, what + ": AppArmor restricts unprivileged ones",
                   "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run "
                   "shunt as root");
  }
  if (under_seccomp()) {
    return refused(os_error, what + ": a seccomp filter, as of a container, is in force",
                   "allow unshare(2) in the container's seccomp profile "
                   "(--security-opt seccomp=unconfined)");
  }
  return refused(os_error, what, "run shunt as root; inside a chroot they are never allowed");
}

}  // namespace shunt
