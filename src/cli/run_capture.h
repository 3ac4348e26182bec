// SPDX-License-Identifier: GPL-2.0-only
// What the carrier of `shunt run` (cli/carrier.h) needs of the way in which the command is
// captured. Each method is one file, run_NAME.cc, that makes such an object and has its row in
// cli/run_method.cc.
#pragma once

#include <sys/types.h>

#include <vector>

#include "cli/run_method.h"
#include "flow/process_names.h"
#include "proxy/proxy.h"

namespace shunt::cli {

/// The destructor undoes everything; the proxy has been stopped then.
class RunCapture {
 public:
  virtual ~RunCapture() = default;
  [[nodiscard]] virtual RunMethod method() const = 0;
  /// What RunMethodRow::enter gets in the command's process. They stay this object's.
  [[nodiscard]] virtual std::vector<int> door() const = 0;
  /// Fills in what the proxy needs of a capture: workers, method, own_listeners, reply_sockets,
  /// processes. Called once; what it hands out lives as long as this.
  virtual void hand_over(ProxyOptions& proxy) = 0;
  /// The mark of upstream sockets; 0: none.
  [[nodiscard]] virtual std::uint32_t egress_mark() const { return 0; }
  /// Whose flows are, for the log; may be null.
  [[nodiscard]] virtual ProcessNames* names() = 0;
  virtual void command_started(pid_t command) = 0;
  /// Whether any process is left that is captured. May take milliseconds.
  [[nodiscard]] virtual bool has_members() const = 0;

  // Something that is to be followed while the command runs; nothing by itself.
  [[nodiscard]] virtual int watch_fd() const { return -1; }
  /// Until follow() is to be called though watch_fd() says nothing; -1: never.
  [[nodiscard]] virtual int wait_ms() const { return -1; }
  virtual void follow() {}
};

}  // namespace shunt::cli
