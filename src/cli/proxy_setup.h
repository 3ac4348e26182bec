// SPDX-License-Identifier: GPL-2.0-only
// What `gateway` and `run` set up alike: descriptors, log, way out. Call in the order of the
// declarations, before any thread is started.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "egress/way_out.h"
#include "flow/process_names.h"
#include "net/endpoint.h"
#include "net/unique_fd.h"
#include "observe/traffic_log.h"
#include "policy/ruleset.h"
#include "proxy/loop_guard.h"
#include "proxy/proxy.h"

namespace shunt::cli {

class Options;

/// Raises the soft RLIMIT_NOFILE to the hard one: a flow takes two descriptors. Yields the limit as
/// it was, for a command that is to be run under it.
rlimit raise_descriptor_limit();

/// Whether `requested` workers, where they were asked for (not 0), are to have descriptor tables of
/// their own, which is said in the log: ProxyOptions::own_tables. After raise_descriptor_limit().
bool parts_descriptor_tables(std::uint32_t requested);

/// What `requested` says, or (0) one for each processor that this process may use.
unsigned worker_count(std::uint32_t requested);

/// What a Proxy works with. Outlives it.
struct TrafficSetup {
  std::shared_ptr<LoopGuard> loop_guard;
  std::shared_ptr<const WayOut> way_out;  ///< of --via, or direct
  std::shared_ptr<const Policy> policy;
  std::vector<Address> trusted_resolvers;  ///< --trust-dns
  UniqueFd log_file;                       ///< of --log-to
  std::unique_ptr<TrafficLog> log;         ///< null: the traffic is not shown

  /// Everything in ProxyOptions that does not depend on the capture.
  [[nodiscard]] ProxyOptions proxy_options(const Options& options) const;
  /// The traffic lines go to the file `path`, unless that is "".
  Result<void> open_log_file(const std::string& path);
  /// Opens the file `path` anew, which may have been renamed, and lets the lines go there from now
  /// on. On failure they go where they went. Nothing to do for "".
  Result<void> reopen_log_file(const std::string& path) const;
  /// Without a file they go to the descriptor `fd`, which is not closed (-1: nowhere). `names` (may
  /// be null) tells whose a flow is and outlives the setup. Starts the log's thread.
  void start_log(bool json, int fd, ProcessNames* names);
};

/// Reads the options of cli/common_options.h: --via, --via-password-file, --json, --log-to and the
/// timeouts. Upstream sockets carry `egress_mark` (0: none). `rules` are rules_of() the options.
/// Opens the log's file; start_log() is for the caller to call.
Result<TrafficSetup> set_up_traffic(const Options& options, std::shared_ptr<const Ruleset> rules,
                                    std::uint32_t egress_mark);

}  // namespace shunt::cli
