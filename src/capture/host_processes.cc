// SPDX-License-Identifier: GPL-2.0-only
#include "capture/host_processes.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <utility>

#include "net/socket.h"

namespace shunt {
namespace {

Result<UniqueFd> diag_socket() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG));
  if (!fd.valid()) return Failure(errno_error("socket(NETLINK_SOCK_DIAG)"));
  return fd;
}

/// A socket can be bound to it. A forwarded flow comes from elsewhere, and whoever listens on its
/// port here has nothing to do with it.
bool is_this_machines(const Address& address) {
  const auto probe = make_socket(address.family(), SocketType::datagram);
  return probe && bind_to(probe->get(), {address, 0}).has_value();
}

}  // namespace

Result<std::unique_ptr<HostProcesses>> HostProcesses::create() {
  UniqueFd netns(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!netns.valid()) return Failure(errno_error("opening /proc/self/ns/net"));
  auto diag = SHUNT_TRY(diag_socket());
  auto processes_diag = SHUNT_TRY(diag_socket());
  return std::unique_ptr<HostProcesses>(
      new HostProcesses(std::move(netns), std::move(diag), std::move(processes_diag)));
}

HostProcesses::HostProcesses(UniqueFd netns, UniqueFd diag, UniqueFd processes_diag)
    : netns_(std::move(netns)),
      diag_(std::move(diag)),
      processes_(std::move(processes_diag), netns_.get(), 0) {}

ProcessFact HostProcesses::find(const Flow& flow, Wanted wanted) {
  if (!is_this_machines(flow.source.address)) return {.state = FactState::never};
  if (wanted == Wanted::all) return processes_.find(flow, wanted);
  const std::scoped_lock lock(mutex_);
  const auto owner = diag_.find(flow.protocol, flow.source, flow.original_destination);
  if (!owner) return {.state = FactState::never};
  return {.state = FactState::known, .uid = owner->uid};
}

std::vector<int> HostProcesses::descriptors() const {
  std::vector<int> all = processes_.descriptors();
  all.push_back(diag_.fd());
  return all;
}

}  // namespace shunt
