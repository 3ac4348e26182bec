// SPDX-License-Identifier: GPL-2.0-only
// Programs that the demo runs on its hosts.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt::cli {

using Arguments = std::vector<std::string>;

/// Whether a program of that name is in PATH, or where administrators' programs are.
bool program_exists(const std::string& name);

/// A running program; what it writes to standard output and standard error is collected. Dies with
/// the demo, however that ends.
class DemoProcess {
 public:
  /// `prepare` runs in the child before exec; a false ends it with code 127.
  static Result<DemoProcess> start(const Arguments& arguments, const std::function<bool()>& prepare,
                                   std::string_view input = {});
  DemoProcess(DemoProcess&& other) noexcept;
  DemoProcess& operator=(DemoProcess&& other) noexcept;
  ~DemoProcess() { end(9); }

  /// Reads on until the output since the last take() contains `text`; false after `timeout_ms`, or
  /// when the program ended without having said it.
  bool wait_for(std::string_view text, int timeout_ms);
  /// What was written since the last take().
  std::string take();
  /// Sends the signal and waits up to five seconds before SIGKILL; the exit code, 128 + N after
  /// signal N. The output so far stays for take().
  int end(int signal);
  /// Waits for the program to end by itself; SIGKILL after `timeout_ms`.
  int wait(int timeout_ms);

 private:
  DemoProcess(pid_t pid, UniqueFd output) : pid_(pid), output_(std::move(output)) {}
  bool read_more(int timeout_ms);
  bool reap(int timeout_ms);

  pid_t pid_ = -1;
  UniqueFd output_;
  std::string text_;
  int code_ = -1;
};

}  // namespace shunt::cli
