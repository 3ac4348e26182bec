// SPDX-License-Identifier: GPL-2.0-only
// What --exclude leaves to the kernel: those terms of the rule grammar that nftables can match.
//
//   rule  = term { term }                 all must hold
//   term  = key value { "," value }       one must hold
//   key   = "to" | "client"               address or CIDR block, either family
//         | "port" | "client-port"        N or N-M
//         | "proto"                       tcp or udp
//         | "uid" | "gid"                 number, N-M or name; the machine's own traffic only
//         | "in"                          interface; forwarded traffic only
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace shunt {

/// A rule as nftables matches. A packet that one of them matches is left alone.
struct Exclusion {
  std::string text;                    ///< as the user wrote it
  std::vector<std::string> forwarded;  ///< for what is forwarded; empty: can never match there
  std::vector<std::string> own;        ///< for the machine's own traffic
};

/// What is wrong with a rule, and where: bytes of its text.
struct SelectorError {
  std::size_t first = 0;
  std::size_t length = 0;
  std::string message;     ///< "unknown term \"prot\""
  std::string suggestion;  ///< a word that may have been meant, or ""
};

/// Looks user and group names up.
std::expected<Exclusion, SelectorError> parse_exclusion(std::string_view text);

}  // namespace shunt
