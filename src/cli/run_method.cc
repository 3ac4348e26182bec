// SPDX-License-Identifier: GPL-2.0-only
#include "cli/run_method.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error_numbers.h"
#include "base/log.h"
#include "cli/options.h"
#include "cli/run_capture.h"
#include "cli/run_methods.h"

namespace shunt::cli {
namespace {

// The order is that of what is lost with each: the first captures all that a program can send and
// leaves it no way round, the last only programs that load libraries.
constexpr std::array kMethods = std::to_array<RunMethodRow>({
    {.method = RunMethod::network_namespace,
     .summary = "a network namespace of its own, where every address leads to shunt",
     .probe = probe_run_namespace,
     .make = make_run_namespace,
     .enter = enter_run_namespace},
    {.method = RunMethod::ebpf,
     .summary = "eBPF programs on a cgroup of its own; the host's network stays in sight",
     .probe = probe_run_ebpf,
     .make = make_run_ebpf,
     .enter = enter_run_ebpf},
    {.method = RunMethod::seccomp,
     .summary = "its system calls are answered by shunt (seccomp user notification)",
     .probe = probe_run_seccomp,
     .make = make_run_seccomp,
     .enter = enter_run_seccomp},
    {.method = RunMethod::ptrace,
     .summary = "its system calls are answered by shunt, which traces it (ptrace)",
     .probe = probe_run_ptrace,
     .make = make_run_ptrace,
     .enter = enter_run_ptrace},
    {.method = RunMethod::preload,
     .summary = "a library in each of its programs (LD_PRELOAD); dynamically linked ones only",
     .probe = probe_run_preload,
     .make = make_run_preload,
     .enter = enter_run_preload},
});

Failure not_built_in(const RunMethodRow& row) {
  return Failure(
      make_error(Kind::unsupported, error_number::kNoRunMethod,
                 fmt::format("this shunt cannot run a command by {}", word_of(row.method)),
                 "shunt doctor      (which methods work here)"));
}

/// That this machine cannot do it is a reason to try the next one; a mistake in an option is none.
bool is_about_the_machine(const Error& error) {
  return error.kind != Kind::usage && error.kind != Kind::configuration;
}

/// A method that was tried, and why it does not work here.
struct PassedOver {
  RunMethod method;
  Error error;
};

std::string reasons(std::span<const PassedOver> passed_over) {
  std::string text;
  for (const auto& [method, error] : passed_over) {
    text += fmt::format("{}{} does not work here: {}", text.empty() ? "" : "; ", word_of(method),
                        error.text());
  }
  return text;
}

/// Each with the reason and, where one is known, the remedy: any of them would do.
Error none_works(std::span<const PassedOver> passed_over) {
  std::string text = "no way to capture a command works here";
  for (const auto& [method, error] : passed_over) {
    text += fmt::format("\n{}: {}", word_of(method), error.text());
    if (!error.help.empty()) text += fmt::format("\n    help: {}", error.help);
  }
  return make_error(Kind::unsupported, error_number::kNoRunMethod, std::move(text));
}

Result<std::unique_ptr<RunCapture>> make_first(const Options& options) {
  std::vector<PassedOver> passed_over;
  for (const RunMethodRow& row : kMethods) {
    if (row.make == nullptr) continue;
    auto made = row.make(options);
    if (made && !passed_over.empty()) {
      log(LogLevel::warning,
          fmt::format("captured by {}, since {}", word_of(row.method), reasons(passed_over)));
    }
    if (made || !is_about_the_machine(made.error())) return made;
    passed_over.push_back({row.method, std::move(made).error()});
  }
  return Failure(none_works(passed_over));
}

}  // namespace

std::span<const RunMethodRow> run_methods() { return kMethods; }

const RunMethodRow& row_of(RunMethod method) {
  const auto* const row = std::ranges::find(kMethods, method, &RunMethodRow::method);
  return row == kMethods.end() ? kMethods.front() : *row;
}

RunMethod run_method_of(std::string_view word) {
  const auto* const found = std::ranges::find(kRunMethodWords, word);
  const auto index = std::distance(std::begin(kRunMethodWords), found);
  return found == std::end(kRunMethodWords) ? RunMethod::automatic : static_cast<RunMethod>(index);
}

Result<void> probe_run_method(RunMethod method) {
  const RunMethodRow& row = row_of(method);
  return row.probe == nullptr ? Result<void>(not_built_in(row)) : row.probe();
}

Result<std::unique_ptr<RunCapture>> make_run_capture(const Options& options) {
  const RunMethod asked = run_method_of(options.value("method"));
  if (asked == RunMethod::automatic) return make_first(options);
  const RunMethodRow& row = row_of(asked);
  return row.make == nullptr ? Result<std::unique_ptr<RunCapture>>(not_built_in(row))
                             : row.make(options);
}

}  // namespace shunt::cli
