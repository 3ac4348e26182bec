// SPDX-License-Identifier: GPL-2.0-only
#include "cli/gateway_steps.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "capture/masquerade.h"
#include "kernel/links.h"
#include "kernel/policy_route.h"

namespace shunt::cli {

void say_method(MethodChoice choice, const MethodDecision& decision) {
  if (decision.method == CaptureMethod::tproxy) {
    log(LogLevel::info, "by TPROXY: TCP and UDP, IPv4 and IPv6");
    return;
  }
  const bool chosen = choice == MethodChoice::redirect;
  log(LogLevel::info,
      fmt::format("by REDIRECT{}",
                  chosen ? "" : ", since TPROXY does not work here: " + decision.why_not_tproxy));
  log(LogLevel::warning,
      "UDP is not captured (REDIRECT cannot tell where a datagram was going): DNS and QUIC pass "
      "beside the proxy");
}

void say_connect(const std::string& why_not) {
  if (why_not.empty()) return;
  log(LogLevel::info,
      fmt::format("clients are let in before their server has answered: {}", why_not));
}

void warn_of_private_sources(const GatewayRequest& request) {
  if (request.lan.empty() || request.capture.masquerade) return;
  const auto addresses = list_addresses();
  const bool has_private =
      addresses && std::ranges::any_of(*addresses, [&](const InterfaceAddress& entry) {
        return entry.address.is_private() &&
               std::ranges::find(request.lan, entry.interface, &LanInterface::name) !=
                   request.lan.end();
      });
  if (!has_private || someone_masquerades().value_or(true)) return;
  log(LogLevel::warning,
      fmt::format("nothing masquerades here: what is not captured (ICMP, what is excluded) leaves "
                  "with private addresses and gets no answer; {} mends that while shunt runs",
                  request.capture.serves ? "masquerade = true" : "--masquerade"));
}

std::vector<std::string> ways_out_warnings(const GatewayRequest& request) {
  const LeavingOptions& leaving = request.capture.leaving;
  std::vector<std::string> warnings;
  for (const std::uint32_t table : leaving.tables) {
    const auto has_routes = [table](Family family) {
      const auto routes = list_routes(family, table);
      return !routes || !routes->empty();
    };
    if (has_routes(Family::ipv4) || has_routes(Family::ipv6)) continue;
    warnings.push_back(fmt::format(
        "routing table {} is empty: ways out with table = {} lead nowhere until it has routes "
        "(ip route add default via … table {})",
        table, table, table));
  }
  if (leaving.keep_source && someone_masquerades().value_or(false)) {
    warnings.emplace_back(
        "some rule here translates sources (masquerade or snat): connections by a way out with "
        "keep-source are exempt and leave with the client's address, a private one too; use it "
        "only towards servers that have a route back");
  }
  return warnings;
}

void drain(Proxy& proxy, GatewayCapture& capture, const StopSignals& signals,
           std::uint32_t timeout_ms) {
  constexpr std::uint32_t kSliceMs = 50;
  if (const auto passing = capture.let_new_flows_pass(); !passing) {
    log(LogLevel::warning, passing.error().text());
  }
  for (std::uint32_t waited = 0;; waited += kSliceMs) {
    if (proxy.drain(std::min(kSliceMs, timeout_ms - waited))) return;
    capture.restore_deleted();
    if (signals.interrupted_again() || waited + kSliceMs >= timeout_ms) break;
    if (waited == 0) {
      log(LogLevel::info, fmt::format("waiting for {} connections to end; Ctrl-C ends them now",
                                      proxy.live_flows()));
    }
  }
  log(LogLevel::info, fmt::format("ending {} connections", proxy.live_flows()));
}

}  // namespace shunt::cli
