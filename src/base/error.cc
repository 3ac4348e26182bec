// SPDX-License-Identifier: GPL-2.0-only
#include "base/error.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace shunt {

std::string Error::text() const {
  if (os_error == 0) return message;
  return message + ": " + strerrordesc_np(os_error);
}

Error errno_error(std::string_view operation) { return errno_error(operation, errno); }

Error errno_error(std::string_view operation, int os_error) {
  const bool denied = os_error == EPERM || os_error == EACCES;
  return Error{.kind = denied ? Kind::privilege : Kind::runtime,
               .os_error = os_error,
               .message = std::string(operation),
               .help = {}};
}

Error make_error(Kind kind, std::string message, std::string help) {
  return Error{.kind = kind, .message = std::move(message), .help = std::move(help)};
}

Error make_error(Kind kind, int number, std::string message, std::string help) {
  Error error = make_error(kind, std::move(message), std::move(help));
  error.number = number;
  return error;
}

Error with_context(Error error, std::string_view context) {
  error.message = std::string(context) + ": " + error.message;
  return error;
}

int exit_code(Kind kind) { return static_cast<int>(kind) + 1; }

}  // namespace shunt
