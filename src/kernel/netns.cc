// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/netns.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "base/error_numbers.h"
#include "kernel/capabilities.h"
#include "kernel/features.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71  // asm-generic/socket.h, Linux 5.14
#endif

constexpr const char* kOwnNamespace = "/proc/thread-self/ns/net";

Result<void> write_own_map(const char* file, std::string_view text) {
  auto written = write_text_file(fmt::format("/proc/self/{}", file), text, O_WRONLY);
  if (written) return written;
  return Failure(explain_user_namespace_refusal(written.error().os_error));
}

}  // namespace

Result<UniqueFd> open_network_namespace() {
  UniqueFd fd(::open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Failure(errno_error(fmt::format("open {}", kOwnNamespace)));
  return fd;
}

Result<std::string> network_namespace_id() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (socket.valid() &&
      ::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0) {
    return fmt::format("net{}", cookie);
  }
  struct stat status{};
  if (::stat(kOwnNamespace, &status) != 0) {
    return Failure(errno_error(fmt::format("stat {}", kOwnNamespace)));
  }
  return fmt::format("ino{}", status.st_ino);
}

Result<void> enter_user_namespace(uid_t inside_uid, gid_t inside_gid) {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (::unshare(CLONE_NEWUSER) != 0) return Failure(explain_user_namespace_refusal(errno));
  SHUNT_CHECK(write_own_map("setgroups", "deny"));
  SHUNT_CHECK(write_own_map("uid_map", fmt::format("{} {} 1\n", inside_uid, uid)));
  return write_own_map("gid_map", fmt::format("{} {} 1\n", inside_gid, gid));
}

Result<void> enter_network_namespace() {
  if (!has_capability(CAP_SYS_ADMIN)) SHUNT_CHECK(enter_user_namespace(0, 0));
  if (::unshare(CLONE_NEWNET) == 0) return {};
  Error error = errno_error("make a network namespace");
  error.number = error_number::kNoNetworkNamespace;
  if (error.os_error == ENOSPC) {
    error.help = "raise the sysctl user.max_net_namespaces";
  } else if (error.os_error == EPERM) {
    return Failure(explain_user_namespace_refusal(EPERM));  // a user namespace without power
  }
  return Failure(std::move(error));
}

Result<void> run_in_network_namespace(int netns, const std::function<Result<void>()>& work) {
  Result<void> result;
  std::thread worker([&] {
    if (::setns(netns, CLONE_NEWNET) != 0) {
      result = Failure(errno_error("enter the network namespace"));
      return;
    }
    result = work();
  });
  worker.join();
  return result;
}

}  // namespace shunt
