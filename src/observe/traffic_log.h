// SPDX-License-Identifier: GPL-2.0-only
// The two kinds of traffic log: lines for people, and NDJSON in the format of docs/json.md. Both
// may be called from any worker and never wait for the writing.
#pragma once

#include <cstdint>
#include <memory>

#include "flow/process_names.h"
#include "flow/record.h"

namespace shunt {

class TrafficLog : public FlowLog {
 public:
  /// True when all that was logged before is written in time.
  virtual bool flush(std::uint32_t timeout_ms) = 0;
  /// Writes what is left and ends the log's thread; false when the reader did not take it in time.
  /// Nothing may be logged any more.
  virtual bool stop(std::uint32_t timeout_ms) = 0;
};

struct TrafficLogOptions {
  int fd = -1;          ///< stays the caller's; kept open until after stop()
  bool colour = false;  ///< console lines only
  ProcessNames* names =
      nullptr;  ///< whose the flows are; null: lines begin with the client's address
};

[[nodiscard]] std::unique_ptr<TrafficLog> make_console_log(const TrafficLogOptions& options);
[[nodiscard]] std::unique_ptr<TrafficLog> make_json_log(const TrafficLogOptions& options);

}  // namespace shunt
