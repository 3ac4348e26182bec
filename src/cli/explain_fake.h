// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "dns/dns_config.h"
#include "flow/facts.h"

namespace shunt::cli {

/// A destination that is a fake address of the mode "fake-ip".
struct FakeDestination {
  std::string name;  ///< "": it stands for none, and a flow to it is refused
};

/// What the destination stands for, by the file in `path` that a running shunt writes (blocks);
/// nothing where it is no fake address, neither of that file nor of the configuration's ranges. A
/// name becomes the flow's, as it does when the flow comes. Fails where only the file could tell,
/// and it cannot be read.
Result<std::optional<FakeDestination>> name_fake_destination(const DnsConfig& dns,
                                                             const std::string& path, Facts& facts);

}  // namespace shunt::cli
