// SPDX-License-Identifier: GPL-2.0-only
// What goes over the control socket. A request is one line of at most kRequestBytes:
//
//   reload close-changed\n
//
// The answer is a row of parts, each a line "KIND BYTES\n" and that many bytes, and the end of the
// connection behind the last of them, which says how it went:
//
//   text 24\nreloaded: 12 rules, 2 new
//   error 57\n…            an error_record()
//   done 1\n3              the exit code for the command that asked
//
// An answer without a `done` was cut off.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace shunt::control {

inline constexpr std::size_t kRequestBytes = 512;
inline constexpr std::size_t kAnswerBytes = 128 * 1024;  ///< fits an idle socket's buffer

struct Answer {
  int exit_code = 0;
  std::vector<std::string> texts;  ///< lines for standard output
  std::vector<Error> errors;
};

/// At most kAnswerBytes: further texts and errors are left out, `done` never is.
[[nodiscard]] std::string encode(const Answer& answer);
/// Empty for what is no whole answer. Pure; takes any bytes.
[[nodiscard]] std::optional<Answer> decode(std::string_view bytes);

/// The words of a request without its line end; empty for one that is none: bytes that are not
/// printable ASCII, or nothing.
[[nodiscard]] std::vector<std::string> words_of(std::string_view line);

}  // namespace shunt::control
