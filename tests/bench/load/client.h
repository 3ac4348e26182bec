// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>

#include "net/endpoint.h"

namespace shunt::load {

enum class Load : std::uint8_t {
  exchange,  ///< one outstanding request on each of N lasting connections
  connect,   ///< connect, one exchange of 64 bytes, close, pause; N at a time
  download,
  upload,
  idle,  ///< opens N connections, one exchange each, then holds them until stdin ends
};

struct LoadOptions {
  Load load = Load::exchange;
  Endpoint target;
  int ports = 1;  ///< connections spread over this many ports, from the target's on
  int connections = 1;
  std::uint32_t message_bytes = 1024;
  double seconds = 1.0;
  double warm_up_seconds = 0.2;
  bool http = false;    ///< of `exchange` and `download`: in HTTP
  double pause_us = 0;  ///< of a `connect` load that has one connection at a time
};

/// Prints one line of JSON with what was measured; returns the exit code.
int run_load(const LoadOptions& options);

}  // namespace shunt::load
