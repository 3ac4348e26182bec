// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>

#include "rule/rule.h"

namespace shunt {

/// The terms that nftables can match (capture/selector.h).
inline constexpr std::array kKernelKeys = {TermKey::to,          TermKey::client,   TermKey::port,
                                           TermKey::client_port, TermKey::proto,    TermKey::uid,
                                           TermKey::gid,         TermKey::user,     TermKey::cgroup,
                                           TermKey::classid,     TermKey::interface};

/// Whether the kernel can match a term: one of those, without a file and without `not`.
[[nodiscard]] bool is_kernel_term(const Term& term);

}  // namespace shunt
