// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

#include "base/result.h"

namespace shunt {

/// The first line of a file, without its line end: a password of at most 255 bytes (RFC 1929).
/// Warns on stderr when others than the owner can read the file. The error never holds what was
/// read.
Result<std::string> read_password_file(const std::string& path);

/// The same of a credential that systemd handed to the service (systemd.exec(5), LoadCredential=):
/// the file `name` in $CREDENTIALS_DIRECTORY. systemd sees to who can read it, so nothing is warned
/// of.
Result<std::string> read_credential(const std::string& name);

}  // namespace shunt
