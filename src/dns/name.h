// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace shunt::dns {

/// Where a name ends that begins at `offset`: behind its root label, or its first pointer. Nothing
/// where it runs past the end.
[[nodiscard]] std::optional<std::size_t> name_end(std::string_view message, std::size_t offset);

/// Its text (dns/message.h). A pointer leads to something before the part of the name that it ends;
/// at most kMostPointers of them.
[[nodiscard]] std::optional<std::string> read_name(std::string_view message, std::size_t offset);

/// A name has at most 253 bytes of text where none of them is escaped (RFC 1035 section 3.1).

}  // namespace shunt::dns
