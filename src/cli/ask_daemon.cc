// SPDX-License-Identifier: GPL-2.0-only
#include "cli/ask_daemon.h"

#include <string>
#include <utility>

#include "base/error_numbers.h"
#include "control/client.h"
#include "kernel/instance.h"

namespace shunt::cli {
namespace {

constexpr int kPatienceMs = 60'000;  // for a reload proxies' names may have to be looked up

Error nobody_there() {
  return make_error(Kind::unreachable, error_number::kNotRunning,
                    "no `shunt serve` of this user runs in this network namespace",
                    "start one with `shunt serve`; if it runs as another user, ask with sudo");
}

/// Of the instances here, the one that serves.
Result<std::string> control_socket() {
  for (const LiveInstance& instance : SHUNT_TRY(live_instances())) {
    // "serve" alone captures nothing: it has listeners.
    if ((instance.command + " ").starts_with("serve ")) return instance.control_socket;
  }
  return Failure(nobody_there());
}

}  // namespace

Result<control::Answer> ask_daemon(std::string_view request) {
  const std::string path = SHUNT_TRY(control_socket());
  auto answer = control::ask(path, request, kPatienceMs);
  if (!answer) answer.error().number = error_number::kNotRunning;
  return answer;
}

}  // namespace shunt::cli
