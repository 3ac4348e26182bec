// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "net/endpoint.h"

namespace shunt::load {

/// Serves every mode on `count` ports from `first` on, until the process is ended. Prints "ready".
[[noreturn]] void serve(const Endpoint& first, int count);

}  // namespace shunt::load
