// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "flow/failure.h"
#include "flow/flow.h"
#include "net/endpoint.h"
#include "net/task.h"

namespace shunt {

/// Looks up the names of destinations for ways out that dial addresses, without asking whom the
/// client asks. Of one worker, on its thread.
class NameResolver {
 public:
  virtual ~NameResolver() = default;
  /// There is somebody to ask.
  [[nodiscard]] virtual bool can_resolve() const = 0;
  /// Where a flow to `name` may go in the place of its original destination, with the port of that:
  /// at least one, those of its family first. Waits for some seconds at most. The arguments outlive
  /// the task.
  virtual Task<std::expected<std::vector<Endpoint>, ConnectFailure>> resolve(
      const Flow& flow, const std::string& name) = 0;
};

}  // namespace shunt
