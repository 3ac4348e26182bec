// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "base/result.h"
#include "net/unique_fd.h"

namespace shunt::cli {

/// SIGINT, SIGTERM and SIGHUP (the terminal is gone) as a descriptor: they stay blocked in every
/// thread that is started later. One that the caller ignores stays ignored (nohup(1) does that to
/// SIGHUP, a shell without job control to the SIGINT of what runs in its background). SIGPIPE and
/// SIGXFSZ are ignored.
class StopSignals {
 public:
  /// Before any thread is started.
  static Result<StopSignals> create();

  /// Readable when a signal waits.
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Takes one signal and yields its number; 0 if none waits.
  [[nodiscard]] unsigned next() const;
  /// Takes one signal; false if none waits.
  bool take() const;
  /// Takes all that wait; true if SIGINT was among them.
  bool interrupted_again() const;

 private:
  explicit StopSignals(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace shunt::cli
