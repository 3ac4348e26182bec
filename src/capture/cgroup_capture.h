// SPDX-License-Identifier: GPL-2.0-only
// The capture by eBPF: programs on cgroups of the host (kernel/capture_program.h) send what the
// processes inside connect to, or send datagrams to, to listeners on loopback, and remember where
// it was going. No rule, no route but one, no namespace: the processes see the host's network as it
// is, and reach its loopback and its own addresses directly.
//
//   program -> connect(203.0.113.9:80) -> [cgroup: 127.0.0.1:PORT] -> listener -> proxy
//   program -> sendto(203.0.113.9:53)  -> [cgroup: 127.64.0.7:PORT] -> listener -> proxy
//
// Datagrams over IPv6 need a prefix that is local here: one of a unique local network
// (RFC 4193) is made so by a route through a TUN device, which goes with this process.
//
// Not captured: what is not TCP or UDP; sockets that were made before their process came into the
// cgroup; processes in another network namespace.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "capture/capture.h"
#include "capture/host_network.h"
#include "capture/listeners.h"
#include "kernel/capture_program.h"
#include "kernel/selecting_program.h"
#include "kernel/tun.h"

namespace shunt {

struct CgroupCaptureOptions {
  HostNetwork host = {};
  std::vector<Address> name_servers = {};  ///< on loopback, whose port 53 is captured all the same
  unsigned workers = 1;
  std::uint32_t own_mark = 0;  ///< of shunt's own sockets; 0: they are not in the cgroups
  bool own_process = false;    ///< this process may be in them
  SelectingProgram::Selection selection = {};
};

/// What stays in the kernel whatever the options: loopback, this machine's own addresses (but their
/// port 53), broadcast, multicast, link-local.
[[nodiscard]] std::vector<LetGo> cgroup_let_go(const std::vector<Address>& name_servers);

class CgroupCapture {
 public:
  /// Nothing is captured until attach(). In the network namespace of the calling thread.
  static Result<CgroupCapture> create(const CgroupCaptureOptions& options);

  /// To the directory of a cgroup.
  Result<void> attach(const std::string& cgroup) { return program_->attach(cgroup); }
  /// The host's network has changed.
  void change_network(const HostNetwork& host);

  /// For the proxy to move out.
  Listeners& listeners() { return listeners_; }
  [[nodiscard]] std::shared_ptr<Origins> origins() const;
  [[nodiscard]] CaptureProgram& program() const { return *program_; }
  /// Why datagrams over IPv6 are refused; "": they are not.
  [[nodiscard]] const std::string& why_no_ipv6_datagrams() const { return why_no_ipv6_datagrams_; }

 private:
  CgroupCapture() = default;
  void add_datagram_prefix(CaptureProgramOptions& program);

  std::optional<TunDevice> tun_;
  std::shared_ptr<CaptureProgram> program_;
  Listeners listeners_;
  std::string why_no_ipv6_datagrams_;
};

}  // namespace shunt
