// SPDX-License-Identifier: GPL-2.0-only
// The eBPF programs that take over what a cgroup's processes send (bpf/capture.bpf.c), and what
// they remember of it. They are attached by links that descriptors hold, so they are gone when the
// last holder is, however it dies, and the cgroup's traffic then goes on as if they had never been.
//
// Linux 5.15 with CONFIG_CGROUP_BPF; tried on 6.18. Needs CAP_BPF, CAP_NET_ADMIN and, for
// bpf_get_current_comm() and the like, CAP_PERFMON, all of them in the first user namespace.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "flow/flow.h"
#include "kernel/selecting_program.h"
#include "net/endpoint.h"
#include "net/network.h"

namespace shunt {

/// Destinations that stay in the kernel.
struct LetGo {
  Network network;
  bool but_dns = false;  ///< port 53 is captured all the same
};

struct CaptureProgramOptions {
  std::uint16_t port = 0;  ///< of the listeners on loopback, host order
  std::vector<LetGo> let_go = {};
  /// 96 bits of an IPv6 prefix that is local here: datagrams are sent to addresses in it. Without
  /// it IPv6 datagrams are refused (EPERM).
  std::optional<Address> datagram_prefix = {};
  // What is never captured; 0: nothing of the kind.
  pid_t own_pid = 0;
  std::uint64_t own_cgroup = 0;
  std::uint32_t own_mark = 0;
  std::uint32_t own_mark_mask = 0;
  SelectingProgram::Selection selection = {};
  std::uint32_t most_pairs = 65'536;  ///< of unconnected UDP sockets and destinations
};

/// From where this machine reaches others, as programs are shown it; empty: nothing is reached by
/// the family, and connect() says so (ENETUNREACH).
struct ShownSources {
  std::optional<Address> ipv4;
  std::optional<Address> ipv6;
};

class CaptureProgram : public SelectingProgram {
 public:
  /// Loads it without attaching it: whether this kernel, and this user, can.
  static Result<void> probe();
  /// Whether this build has it at all.
  [[nodiscard]] static bool built_in();
  /// Captures nothing yet. For the network namespace of the calling thread.
  static Result<std::unique_ptr<CaptureProgram>> load(const CaptureProgramOptions& options);

  /// May be called again while programs run; before it nothing is reached.
  virtual void show_sources(const ShownSources& sources) = 0;
  /// Descriptors that keep what is attached; they stay this object's.
  [[nodiscard]] virtual std::vector<int> links() const = 0;

  struct Remembered {
    Endpoint destination;
    ClientProcess process;
  };
  /// Of a TCP connection by its client, and forgets it. Any thread.
  virtual std::optional<Remembered> take_connection(const Endpoint& client) = 0;
  /// Of a datagram by the address that it was sent to, also when its socket was closed in the
  /// meantime. Any thread.
  virtual std::optional<Remembered> datagram_to(const Address& address) = 0;
  /// What these two need to be open in the caller's table (base/descriptor_table.h).
  [[nodiscard]] virtual std::vector<int> maps() const = 0;

  /// Nothing more is captured from now on; what is there already goes on as it was.
  virtual void capture_no_more() = 0;
  /// How many calls of programs failed for want of room.
  [[nodiscard]] virtual std::uint64_t refused() const = 0;
  /// Entries that are held at present, of connections that nobody has taken and of open datagram
  /// sockets; counts them one by one.
  [[nodiscard]] virtual std::size_t entries() const = 0;
};

}  // namespace shunt
