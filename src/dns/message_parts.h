// SPDX-License-Identifier: GPL-2.0-only
// Pieces that messages of our own are made of, on the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "dns/message.h"

namespace shunt::dns {

/// Two bytes and four, big-endian.
void append_word(std::string& out, std::size_t value);
void append_long(std::string& out, std::uint32_t value);
/// An OPT record without options. `udp_bytes`: what we take; `high_rcode`: as in Edns.
void append_edns(std::string& out, std::size_t udp_bytes, bool dnssec_ok, std::uint8_t high_rcode);

/// Where a message's header has the counts of its answers and of its additional records.
inline constexpr std::size_t kAnswerCount = 6;
inline constexpr std::size_t kAdditionalCount = 10;
void set_count(std::string& message, std::size_t offset, std::size_t count);

/// Header and question, without EDNS. Nothing for a name that is none.
[[nodiscard]] std::optional<std::string> begin_query(std::uint16_t id, std::uint16_t flags,
                                                     const Question& question);

}  // namespace shunt::dns
