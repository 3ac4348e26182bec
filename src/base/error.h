// SPDX-License-Identifier: GPL-2.0-only
// The one error type. It is made where the failure happens and gains context on the way up; the
// command that was asked for prints it once. What a data-path failure means for a flow is not an
// Error but a ConnectFailure (flow/failure.h).
#pragma once

#include <string>
#include <string_view>

namespace shunt {

/// What kind of failure it is; decides the process's exit code (exit_code()).
enum class Kind : unsigned char {
  runtime,        ///< exit 1
  usage,          ///< exit 2: the command line is off
  configuration,  ///< exit 3
  privilege,      ///< exit 4: a capability is missing
  unsupported,    ///< exit 5: this kernel or host cannot do it
  unreachable,    ///< exit 6: the daemon does not answer
  conflict,       ///< exit 7: port, table or foreign rules in the way
};

struct Error {
  Kind kind = Kind::runtime;
  int os_error = 0;        ///< errno value, 0 where none applies
  std::string message;     ///< what failed, on what; one line, no final full stop
  std::string help;        ///< the one thing that mends it, "" where none is known
  int number = 0;          ///< the N of error[SN] (base/error_numbers.h); 0 = none given
  std::string place = {};  ///< where the mistake stands, as lines ready to print; "" = nowhere

  /// "message: strerror", in one line.
  [[nodiscard]] std::string text() const;
};

/// An error of the runtime kind from errno, saved before anything else can change it.
[[nodiscard]] Error errno_error(std::string_view operation);
[[nodiscard]] Error errno_error(std::string_view operation, int os_error);
[[nodiscard]] Error make_error(Kind kind, std::string message, std::string help = {});
/// The same with the N of error[SN].
[[nodiscard]] Error make_error(Kind kind, int number, std::string message, std::string help = {});

/// Puts "context: " before the message.
[[nodiscard]] Error with_context(Error error, std::string_view context);

[[nodiscard]] int exit_code(Kind kind);

}  // namespace shunt
