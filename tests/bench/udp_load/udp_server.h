// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "net/endpoint.h"

namespace shunt::load {

/// See the head of main.cc. Returns when stdin ends.
int serve_datagrams(const Endpoint& first, int count);

}  // namespace shunt::load
