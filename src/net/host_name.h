// SPDX-License-Identifier: GPL-2.0-only
// Texts that name a host, as files, rules and peers write them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace shunt {

/// As names are compared: in ASCII lower case and without the final dot. Empty where no host can
/// have the name: more than 253 bytes, labels of more than 63 (RFC 1035 section 2.3.4), anything
/// but letters, digits, "-" (RFC 1123) and, as in DNS, "_". An IPv4 address has the form of a name.
[[nodiscard]] std::optional<std::string> host_name(std::string_view text);

/// An IPv4 or IPv6 address; the latter may have a zone: "fe80::1%eth0".
[[nodiscard]] bool is_address(std::string_view text);

}  // namespace shunt
