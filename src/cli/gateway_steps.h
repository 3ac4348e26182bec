// SPDX-License-Identifier: GPL-2.0-only
// What `gateway` and `serve` do alike, beside cli/proxy_setup.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "capture/gateway_capture.h"
#include "cli/gateway_request.h"
#include "cli/stop_signals.h"
#include "proxy/proxy.h"

namespace shunt::cli {

/// Logs how the traffic is captured, and what is not.
void say_method(MethodChoice choice, const MethodDecision& decision);

/// Logs when clients are let in, unless that is as they asked for. `why_not` of
/// GatewayCapture::why_not_held().
void say_connect(const std::string& why_not);

/// What is not captured leaves as the kernel forwards it: with the client's own address.
void warn_of_private_sources(const GatewayRequest& request);

/// What is odd about the ways out as the kernel is now: tables without routes, source translation
/// where clients' addresses are kept. Reads only; one line each.
std::vector<std::string> ways_out_warnings(const GatewayRequest& request);

/// Drains until nothing lives, the deadline passes, or a second SIGINT comes.
void drain(Proxy& proxy, GatewayCapture& capture, const StopSignals& signals,
           std::uint32_t timeout_ms);

}  // namespace shunt::cli
