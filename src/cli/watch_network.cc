// SPDX-License-Identifier: GPL-2.0-only
#include "cli/watch_network.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/error_numbers.h"
#include "kernel/containers.h"
#include "kernel/netns.h"

namespace shunt::cli {
namespace {

using By = WatchTarget::By;

bool is_same(const UniqueFd& one, const UniqueFd& other) {
  struct stat a{};
  struct stat b{};
  return ::fstat(one.get(), &a) == 0 && ::fstat(other.get(), &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

Failure no_network(const WatchTarget& target, std::string why) {
  const bool gone = target.by == By::process;
  return Failure(make_error(
      Kind::runtime, error_number::kBadTarget, fmt::format("{}: {}", text_of(target), why),
      gone ? "name:NAME watches a program also before it runs" : "ip netns, lsns -t net"));
}

Result<UniqueFd> open_network(const WatchTarget& target) {
  const bool by_file = target.by == By::network;
  const std::string path = by_file ? target.text : fmt::format("/proc/{}/ns/net", target.number);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid() && !by_file && errno == ENOENT) {
    return no_network(target, fmt::format("there is no process {}", target.number));
  }
  if (!fd.valid()) return Failure(errno_error(fmt::format("open {}", path)));
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
    return no_network(target, "that is no network namespace");
  }
  return fd;
}

bool has_network(const WatchTarget& target) {
  return !target.excluded &&
         (target.by == By::process || target.by == By::network || target.by == By::container);
}

}  // namespace

Result<UniqueFd> resolve_networks(std::vector<WatchTarget>& targets,
                                  const std::string& state_root) {
  UniqueFd found;
  const WatchTarget* whose = nullptr;
  for (WatchTarget& target : targets) {
    if (target.by == By::container) {
      const Container container = SHUNT_TRY(find_container(target.text, state_root));
      target.number = static_cast<std::uint32_t>(container.pid);
      target.cgroup = container.cgroup;
    }
    if (!has_network(target)) continue;
    UniqueFd network = SHUNT_TRY(open_network(target));
    if (whose != nullptr && !is_same(found, network)) {
      return Failure(make_error(Kind::usage, error_number::kOptionConflict,
                                fmt::format("{} and {} are in different network namespaces",
                                            text_of(*whose), text_of(target)),
                                "a shunt for each"));
    }
    found = std::move(network);
    whose = &target;
  }
  if (whose == nullptr) return UniqueFd();
  const UniqueFd own = SHUNT_TRY(open_network_namespace());
  return is_same(found, own) ? UniqueFd() : std::move(found);
}

}  // namespace shunt::cli
