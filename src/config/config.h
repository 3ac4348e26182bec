// SPDX-License-Identifier: GPL-2.0-only
// A configuration file as checked objects: what `shunt serve`, `check` and `explain` work with.
//
//   text -> tree (toml_text.h) -> known keys of the right kinds (schema.h) -> Config (here)
//
// A file is taken whole or not at all. Several mistakes are told at once.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/limits.h"
#include "capture/gateway_plan.h"
#include "capture/plain_listeners.h"
#include "config/source_text.h"
#include "dns/dns_config.h"
#include "egress/way_out_spec.h"
#include "flow/udp_nat.h"
#include "policy/ruleset.h"

namespace shunt {

inline constexpr std::string_view kDefaultConfigFile = "/etc/shunt/shunt.toml";

using Mistakes = std::vector<Error>;  ///< at least one, at most limits::kConfigMistakes

/// [capture], as it is written: the interfaces of `lan` are not looked for here.
struct CaptureConfig {
  /// No `lan`: those that look like one. Not where the file names listeners and has no [capture].
  bool choose_lan = true;
  GatewayOptions options;  ///< interfaces: what `lan` names
  TextPlace lan_place = {};
  TextPlace method_place = {};
  TextPlace notrack_place = {};
};

struct LimitsConfig {
  std::uint32_t workers = 0;  ///< 0: one for each processor
  std::uint32_t sniff_wait_ms = limits::kSniffWaitMs;
  std::vector<std::uint16_t> server_first;  ///< ports, beside those that are known
  std::uint32_t connect_timeout_ms = limits::kConnectTimeoutMs;
  std::uint32_t idle_timeout_ms = limits::kIdleTimeoutMs;
  std::uint32_t drain_timeout_ms = limits::kDrainTimeoutMs;
  bool operator==(const LimitsConfig&) const = default;
};

struct LogConfig {
  bool json = false;
  std::string to;  ///< path; "": standard output
  bool operator==(const LogConfig&) const = default;
};

struct Config {
  std::shared_ptr<const SourceText> source;
  CaptureConfig capture;
  std::vector<PlainListener> listeners;  ///< [listen.NAME]
  std::vector<WayOutSpec> ways_out;
  PolicySource policy;
  UdpNat udp;
  LimitsConfig limits;
  DnsConfig dns;
  LogConfig log;
  TextPlace log_place = {};  ///< of log.to
};

/// Checks all that can be seen in the text itself, and tells mistakes in its order; rules are
/// compiled by Ruleset::compile(). File names in it are relative to the folder of `file`.
[[nodiscard]] std::expected<Config, Mistakes> parse_config(std::string file, std::string text);

/// The same of a file of at most limits::kConfigBytes.
[[nodiscard]] std::expected<Config, Mistakes> read_config(const std::string& file);

/// A configuration and the rules in it, ready to be used. Reads list files and databases, and
/// looks users up, but opens no secret.
struct CheckedConfig {
  Config config;
  std::shared_ptr<const Ruleset> rules;
};
/// Mistakes stand in the order of the file; those without a place in it come last.
[[nodiscard]] std::expected<CheckedConfig, Mistakes> check_config(Config config,
                                                                  std::uint32_t own_mark_bits = 0);

/// What is odd, though it works: rules that can never match, ways out that nobody uses, secrets
/// that other users can read. In the order of the file, each with its place.
[[nodiscard]] std::vector<Error> config_warnings(const CheckedConfig& checked);

}  // namespace shunt
