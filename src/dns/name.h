// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace shunt::dns {

/// Where a name ends that begins at `offset`: behind its root label, or its first pointer. Nothing
/// where it runs past the end.
[[nodiscard]] std::optional<std::size_t> name_end(std::string_view message, std::size_t offset);

/// Bytes of a message that belong to no name: type, class, TTL and length of a record.
struct FixedFields {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Its text (dns/message.h). A pointer leads to a prior name (RFC 1035 section 4.1.4), which ends
/// before the part that the pointer stands in begins, and has nothing of `fixed`, those of the
/// records before in their order; at most kMostPointers of them.
[[nodiscard]] std::optional<std::string> read_name(std::string_view message, std::size_t offset,
                                                   std::span<const FixedFields> fixed = {});

}  // namespace shunt::dns
