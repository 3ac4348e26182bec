// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/resolver_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error_numbers.h"
#include "kernel/capabilities.h"
#include "kernel/netns.h"
#include "net/unique_fd.h"

namespace shunt {
namespace {

constexpr const char* kResolverFile = "/etc/resolv.conf";
constexpr const char* kFileName = "resolv.conf";
// Where the C library asks before it looks into the file: nscd(8), nss-resolve(8).
constexpr const char* kNameServices[] = {"/run/nscd/socket",
                                         "/run/systemd/resolve/io.systemd.Resolve"};

Failure refused(std::string_view what) {
  Error error = errno_error(what);
  error.kind = Kind::unsupported;
  error.number = error_number::kNoRoute;
  return Failure(std::move(error));
}

/// A file system in memory that is mounted nowhere, with the file in it.
Result<UniqueFd> file_system_with(std::string_view text) {
  const UniqueFd context(::fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context.valid()) return refused("fsopen");
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return refused("fsconfig");
  }
  constexpr unsigned kAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, kAttributes));
  if (!mount.valid()) return refused("fsmount");
  const UniqueFd file(
      ::openat(mount.get(), kFileName, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file.valid() ||
      ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return refused("write a resolv.conf");
  }
  ::fchmod(file.get(), 0644);  // whatever the umask is
  return mount;
}

/// Puts the file of that file system in the place of `path`, which may be a symbolic link.
Result<void> put_over(int file_system, const char* path) {
  const UniqueFd file(::open_tree(file_system, kFileName, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
  if (!file.valid()) return refused("open_tree");
  if (::move_mount(file.get(), "", AT_FDCWD, path,
                   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) != 0) {
    return refused(fmt::format("put another file in the place of {}", path));
  }
  return {};
}

}  // namespace

Result<void> enter_own_resolver_file(std::string_view text) {
  if (::access(kResolverFile, F_OK) != 0) return refused(kResolverFile);
  if (!has_capability(CAP_SYS_ADMIN)) {
    SHUNT_CHECK(enter_user_namespace(::geteuid(), ::getegid()));
  }
  if (::unshare(CLONE_NEWNS) != 0) return refused("make a mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    return refused("keep mounts to the command");
  }
  const UniqueFd file_system = SHUNT_TRY(file_system_with(text));
  for (const char* service : kNameServices) {
    if (::access(service, F_OK) == 0) SHUNT_CHECK(put_over(file_system.get(), service));
  }
  return put_over(file_system.get(), kResolverFile);
}

}  // namespace shunt
