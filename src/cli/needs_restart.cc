// SPDX-License-Identifier: GPL-2.0-only
#include "cli/needs_restart.h"

#include <algorithm>

namespace shunt::cli {

std::vector<std::string> needs_restart(const Config& before, const Config& after) {
  std::vector<std::string> keys;
  const auto differs = [&keys](bool different, const char* key) {
    if (different) keys.emplace_back(key);
  };
  const GatewayOptions& old_capture = before.capture.options;
  const GatewayOptions& capture = after.capture.options;
  differs(before.capture.choose_lan != after.capture.choose_lan ||
              old_capture.interfaces != capture.interfaces,
          "capture.lan");
  differs(old_capture.host != capture.host, "capture.host");
  differs(old_capture.loopback != capture.loopback, "capture.loopback");
  differs(old_capture.method != capture.method, "capture.method");
  differs(old_capture.connect != capture.connect, "capture.connect");
  differs(old_capture.closed != capture.closed, "capture.on-exit");
  differs(old_capture.masquerade != capture.masquerade, "capture.masquerade");
  differs(old_capture.notrack != capture.notrack, "capture.notrack");
  differs(!std::ranges::equal(before.listeners, after.listeners, &PlainListener::same), "listen");
  differs(before.udp != after.udp, "udp");
  differs(before.limits.workers != after.limits.workers, "limits.workers");
  differs(before.limits.sniff_wait_ms != after.limits.sniff_wait_ms, "limits.sniff-wait");
  differs(before.limits.server_first != after.limits.server_first, "limits.server-first");
  differs(before.limits.idle_timeout_ms != after.limits.idle_timeout_ms, "limits.idle-timeout");
  differs(before.dns.trusted != after.dns.trusted, "dns.trusted");
  differs(!before.dns.same_as(after.dns), "dns");
  differs(before.log.json != after.log.json, "log.format");
  differs(before.log.to != after.log.to, "log.to");
  return keys;
}

}  // namespace shunt::cli
