// SPDX-License-Identifier: GPL-2.0-only
// A HostNetwork on its way to the process that holds the namespace: a line for
// each family, "SOURCE ADDRESS/LENGTH ADDRESS/LENGTH…", empty without a source.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "capture/host_network.h"

namespace shunt {

[[nodiscard]] std::string host_network_record(const HostNetwork& host);
/// Empty when the record is malformed.
[[nodiscard]] std::optional<HostNetwork> host_network_from_record(std::string_view record);

}  // namespace shunt
