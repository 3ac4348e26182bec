// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "egress/way_out_spec.h"

namespace shunt {

/// An error about one key of a way out, with its place. `key` "" is the way out as such.
Failure way_out_error(const WayOutSpec& spec, std::string_view key, std::string_view what,
                      std::string help = {});

/// Whatever can be found wrong without asking the system: names, contradictions, cycles. At most
/// one mistake of each kind for each way out, in the order of the file, cycles last. Pure.
[[nodiscard]] std::vector<Error> way_out_mistakes(std::span<const WayOutSpec> specs,
                                                  std::uint32_t own_mark_bits);
/// The first of these.
Result<void> check_way_outs(std::span<const WayOutSpec> specs, std::uint32_t own_mark_bits);

/// Null where there is none of that name.
const WayOutSpec* find_spec(std::span<const WayOutSpec> specs, std::string_view name);

/// The files of `tls-ca` that hold no certificate to trust, or cannot be read: what make_ways_out()
/// would find. Reads them.
[[nodiscard]] std::vector<Error> trust_mistakes(std::span<const WayOutSpec> specs);

}  // namespace shunt
