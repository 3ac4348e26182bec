// SPDX-License-Identifier: GPL-2.0-only
// The ways in which `shunt run` can capture a command. One table (run_method.cc) has a row for
// each: its word on the command line, how it is tried, how it is made in the carrier
// (cli/run_capture.h), and what the command's process does to get into it. A method that was asked
// for by name is never replaced by another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt::cli {

class Options;
class RunCapture;

enum class RunMethod : std::uint8_t {
  automatic,
  network_namespace,  ///< "namespace"
  ebpf,
  seccomp,
  ptrace,
  preload,
};

/// Of --method, of the log and of `doctor`, by RunMethod.
inline constexpr std::string_view kRunMethodWords[] = {"auto",    "namespace", "ebpf",
                                                       "seccomp", "ptrace",    "preload"};
[[nodiscard]] constexpr std::string_view word_of(RunMethod method) {
  return kRunMethodWords[static_cast<std::size_t>(method)];
}
/// `word` is one of them.
[[nodiscard]] RunMethod run_method_of(std::string_view word);

/// What the carrier gives the command's process so that it gets in; their meaning is the method's.
struct RunDoor {
  RunMethod method = RunMethod::network_namespace;
  std::vector<UniqueFd> fds = {};
};

struct RunMethodRow {
  RunMethod method = RunMethod::automatic;
  std::string_view summary = {};  ///< what it is, in half a sentence
  /// Tries it without leaving anything behind, for `doctor`. Forks, so before any thread is
  /// started. Null, as the others, where this build does not have the method.
  Result<void> (*probe)() = nullptr;
  /// In the carrier, before any thread is started. Leaves nothing behind when it fails; then the
  /// next method may be tried.
  Result<std::unique_ptr<RunCapture>> (*make)(const Options& options) = nullptr;
  /// In the command's process, which has one thread, before it executes the command.
  Result<void> (*enter)(const RunDoor& door) = nullptr;
};

/// In the order in which `auto` tries them; `automatic` is not among them.
[[nodiscard]] std::span<const RunMethodRow> run_methods();
[[nodiscard]] const RunMethodRow& row_of(RunMethod method);  ///< not of `automatic`

/// Whether the method works here; the error says why not, and what would mend it.
Result<void> probe_run_method(RunMethod method);

/// Makes the capture that --method asks for: the first of the table that can be had, which is said
/// in the log where it is not the very first; or the one that is named, or its error. Fails where
/// none can be had: a command is never run uncaptured.
Result<std::unique_ptr<RunCapture>> make_run_capture(const Options& options);

}  // namespace shunt::cli
