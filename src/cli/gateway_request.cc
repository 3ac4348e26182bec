// SPDX-License-Identifier: GPL-2.0-only
#include "cli/gateway_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <expected>
#include <utility>

#include "base/error_numbers.h"
#include "capture/notrack.h"
#include "cli/dns_setup.h"
#include "cli/kernel_decisions.h"
#include "cli/options.h"
#include "cli/place.h"
#include "cli/proxy_setup.h"
#include "cli/rule_options.h"

namespace shunt::cli {
namespace {

Error bad_exclude(const std::string& text, SelectorError mistake) {
  Error error = make_error(Kind::usage, error_number::kBadExclude, std::move(mistake.message),
                           "shunt help gateway      (terms: to, client, port, client-port, proto, "
                           "uid, gid, user, cgroup, in)");
  const std::string quoted = fmt::format("'{}'", text);
  const std::array<std::string_view, 1> argument{quoted};
  error.place = point_at("gateway --exclude", argument,
                         {.argument = 0, .first = mistake.first + 1, .length = mistake.length},
                         did_you_mean(mistake.suggestion));
  return error;
}

Result<std::vector<Exclusion>> exclusions(const Options& options) {
  std::vector<Exclusion> out;
  for (const std::string& text : options.values("exclude")) {
    auto exclusion = parse_exclusion(text);
    if (!exclusion) return Failure(bad_exclude(text, std::move(exclusion).error()));
    out.push_back(std::move(*exclusion));
  }
  return out;
}

Result<void> check_consistent(const Options& options) {
  if (!options.has("loopback") || options.has("host")) return {};
  return Failure(make_error(Kind::usage, error_number::kOptionConflict,
                            "--loopback is about this machine's own traffic and needs --host",
                            "shunt gateway --host --loopback …"));
}

Result<void> check_notrack_flags(const GatewayOptions& asked) {
  const auto conflict = asked.notrack ? notrack_conflict(asked) : std::nullopt;
  if (!conflict) return {};
  return Failure(make_error(Kind::usage, error_number::kOptionConflict, conflict->message,
                            conflict->fix_in_flags));
}

/// A mistake in what is to be captured, where the file says it and with a fix in the file's words.
Error in_configuration(Error error, const Config& config) {
  const bool mistake = error.kind == Kind::usage || error.kind == Kind::configuration;
  if (!mistake) return error;
  error.kind = Kind::configuration;
  if (error.number == error_number::kNothingToCapture) {
    error.help = "in [capture]: lan = [\"IFACE\"], or host = true for this machine's own traffic";
  }
  const TextPlace& place = config.capture.lan_place;
  if (place.line != 0) error.place = config.source->error_at(place, 0, {}).place;
  return error;
}

Result<void> check_own_lookups(const Options& options, const DnsConfig& dns) {
  if (dns.mode == DnsMode::system || !dns.server.empty() || !options.has("host")) return {};
  return Failure(make_error(
      Kind::usage, error_number::kOptionConflict,
      "with --host this machine's own lookups are captured, so shunt itself needs a server to ask",
      "--dns-server tcp://192.0.2.53      (or tls:// or udp://)"));
}

/// What the kernel decides by itself never reaches the proxy: neither the queries to be answered,
/// nor the flows to fake addresses, which lead nowhere.
void decide_all_in_proxy(const DnsConfig& dns, GatewayRequest& request) {
  if (dns.mode != DnsMode::system) request.capture.kernel_rules.clear();
  request.capture.own_dns = takes_own_dns(dns, *request.rules, request.capture.host);
}

Error nothing_to_capture() {
  return make_error(Kind::configuration, error_number::kNothingToCapture,
                    "nothing to capture: no interface has a private address beside the one with "
                    "the default route",
                    "name the LAN's interface: shunt gateway -i IFACE, or capture this machine's "
                    "own traffic: --host");
}

/// `named`: the interfaces asked for; none: those that look like a LAN.
std::expected<GatewayRequest, LanMistake> with_lan(GatewayRequest request,
                                                   const std::vector<std::string>& named) {
  auto chosen = choose_lan_interfaces(named);
  if (!chosen) return std::unexpected(std::move(chosen).error());
  request.lan = *std::move(chosen);
  for (const LanInterface& lan : request.lan) request.capture.interfaces.push_back(lan.name);
  if (request.lan.empty() && !request.capture.host && request.listeners.empty()) {
    return std::unexpected(LanMistake{.error = nothing_to_capture()});
  }
  if (request.lan.size() < Allotment::kReturnPriority) return request;
  return std::unexpected(
      LanMistake{.error = make_error(Kind::usage, error_number::kNothingToCapture,
                                     fmt::format("{} interfaces are more than one gateway takes",
                                                 request.lan.size()),
                                     "name fewer")});
}

}  // namespace

LeavingOptions leaving_options(const Config& config) {
  LeavingOptions leaving;
  for (const WayOutSpec& spec : config.ways_out) {
    leaving.keep_source = leaving.keep_source || spec.keep_source != KeptEnd::none;
    leaving.keep_port = leaving.keep_port || spec.keep_source == KeptEnd::port;
    const bool known =
        spec.table && std::ranges::find(leaving.tables, *spec.table) != leaving.tables.end();
    if (spec.table && !known) leaving.tables.push_back(*spec.table);
  }
  return leaving;
}

std::string GatewayRequest::captured_text() const {
  std::string text;
  for (const auto& [name, why] : lan) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", name, why);
  }
  if (!capture.host) return text;
  return fmt::format("{}{}this machine's own traffic{}", text, text.empty() ? "" : "; ",
                     capture.loopback ? ", connections to itself included" : "");
}

Result<GatewayRequest> gateway_request(const Options& options) {
  SHUNT_CHECK(check_consistent(options));
  GatewayRequest request;
  request.rules = SHUNT_TRY(rules_of(options));
  request.capture = GatewayOptions{.interfaces = {},
                                   .host = options.has("host"),
                                   .loopback = options.has("loopback"),
                                   .masquerade = options.has("masquerade"),
                                   .closed = options.value("on-exit") == "closed",
                                   .notrack = options.has("notrack"),
                                   .method = method_choice(options.value("method")),
                                   .connect = connect_mode_of(options.value("connect")),
                                   .exclusions = SHUNT_TRY(exclusions(options)),
                                   .kernel_rules = kernel_decisions(*request.rules),
                                   .workers = worker_count(options.count("workers")),
                                   .mark_upstreams = !options.has("debug-unmarked")};
  SHUNT_CHECK(check_notrack_flags(request.capture));
  const DnsConfig dns = SHUNT_TRY(dns_config(options));
  SHUNT_CHECK(check_own_lookups(options, dns));
  decide_all_in_proxy(dns, request);
  auto made = with_lan(std::move(request), options.values("interface"));
  if (made && made->capture.notrack && made->lan.empty()) {
    return Failure(make_error(Kind::usage, error_number::kOptionConflict,
                              "--notrack is about the LAN's TCP, and no LAN is captured",
                              "shunt gateway -i IFACE --notrack --connect early …"));
  }
  if (made) return *std::move(made);
  auto& [error, name] = made.error();
  if (!name.empty()) {
    error.kind = Kind::usage;
    error.place = point_at_value(options.command().name, "interface", name);
  }
  return Failure(std::move(error));
}

Result<GatewayRequest> gateway_request(const CheckedConfig& checked) {
  const CaptureConfig& asked = checked.config.capture;
  GatewayRequest request;
  request.rules = checked.rules;
  request.listeners = checked.config.listeners;
  request.capture = asked.options;
  request.capture.serves = true;
  request.capture.interfaces.clear();
  request.capture.kernel_rules = kernel_decisions(*checked.rules);
  decide_all_in_proxy(checked.config.dns, request);
  request.capture.leaving = leaving_options(checked.config);
  request.capture.workers = worker_count(checked.config.limits.workers);
  if (asked.choose_lan || !asked.options.interfaces.empty()) {
    auto made = with_lan(std::move(request), asked.options.interfaces);
    if (made) return *std::move(made);
    return Failure(in_configuration(std::move(made).error().error, checked.config));
  }
  if (request.capture.host || !request.listeners.empty()) return request;
  return Failure(in_configuration(
      make_error(Kind::configuration, error_number::kNothingToCapture,
                 "nothing to capture: `lan` names no interface and `host` is not true"),
      checked.config));
}

}  // namespace shunt::cli
