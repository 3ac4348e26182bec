// SPDX-License-Identifier: GPL-2.0-only
// What can be seen of a configuration beside its text: rules against ways out, files that must be
// there, and what is odd though it works.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <set>
#include <utility>

#include "base/error_numbers.h"
#include "base/limits.h"
#include "capture/notrack.h"
#include "config/config.h"
#include "config/mistake_order.h"
#include "config/source_text.h"
#include "egress/check_way_outs.h"
#include "policy/check.h"
#include "rule/parse.h"

namespace shunt {
namespace {

std::string place_of(const WayOutSpec& spec, std::string_view key) {
  return spec.place ? spec.place(key) : std::string();
}

Error secret_error(const WayOutSpec& spec, std::string message, std::string help = {}) {
  Error error = make_error(Kind::configuration, error_number::kPasswordFile, std::move(message),
                           std::move(help));
  error.place = place_of(spec, "password-file");
  return error;
}

/// A secret is looked at from outside only.
void check_secrets(const std::vector<WayOutSpec>& specs, Mistakes& mistakes) {
  for (const WayOutSpec& spec : specs) {
    struct stat status{};
    if (spec.password_file.empty() || ::stat(spec.password_file.c_str(), &status) == 0) continue;
    Error error =
        secret_error(spec, fmt::format("cannot find the password file {}", spec.password_file));
    error.os_error = errno;
    mistakes.push_back(std::move(error));
  }
}

Error dns_error(const DnsConfig& dns, std::string_view key, std::string message, std::string help) {
  Error error = make_error(Kind::configuration, error_number::kOptionConflict, std::move(message),
                           std::move(help));
  if (dns.place) error.place = dns.place(key);
  return error;
}

/// [dns] against what the rest of the file says. `rules` may be null.
void check_dns_way(const Config& config, const Ruleset* rules, Mistakes& mistakes) {
  const DnsConfig& dns = config.dns;
  if (dns.mode == DnsMode::system) return;
  if (config.capture.options.method == MethodChoice::redirect) {
    mistakes.push_back(config.source->error_at(
        config.capture.method_place, error_number::kNoTproxy,
        "by REDIRECT no datagram is captured, so queries of DNS would leave unseen",
        "method = \"auto\", or [dns] mode = \"system\""));
  }
  const bool known =
      dns.via.empty() || dns.via == "direct" || find_spec(config.ways_out, dns.via) != nullptr;
  if (!known) {
    Error error = make_error(Kind::configuration, error_number::kUnknownWayOut,
                             fmt::format("unknown way out \"{}\"", dns.via));
    if (dns.place) error.place = dns.place("via");
    mistakes.push_back(std::move(error));
  }
  if (dns.server.empty() && config.capture.options.host) {
    mistakes.push_back(
        dns_error(dns, "mode",
                  "this machine's own lookups are captured, so shunt itself needs a server to ask",
                  "server = \"tcp://192.0.2.53\", or tls:// or udp://"));
  }
  if (rules == nullptr || dns.server.empty() || !dns.via.empty()) return;
  if (!rules->verdict(0).denies()) return;
  mistakes.push_back(dns_error(dns, "server",
                               "the default of the rules denies, so no way leads to the server",
                               "via = \"direct\", or another way out"));
}

void check_notrack(const Config& config, Mistakes& mistakes) {
  GatewayOptions asked = config.capture.options;
  if (!asked.notrack) return;
  asked.leaving.keep_source = std::ranges::any_of(
      config.ways_out, [](const WayOutSpec& spec) { return spec.keep_source != KeptEnd::none; });
  const auto conflict = notrack_conflict(asked);
  if (!conflict) return;
  mistakes.push_back(config.source->error_at(config.capture.notrack_place,
                                             error_number::kOptionConflict, conflict->message,
                                             conflict->fix_in_file));
}

/// What the rules lead to, and what those ways out lead through.
std::set<std::string, std::less<>> used_ways_out(const CheckedConfig& checked) {
  std::set<std::string, std::less<>> used;
  std::vector<std::string> waiting;
  const auto use = [&](const std::string& name) {
    if (used.insert(name).second) waiting.push_back(name);
  };
  for (std::uint32_t number = 0; number <= checked.rules->size(); ++number) {
    for (const std::uint16_t way : checked.rules->verdict(number).ways) {
      use(checked.rules->ways_out()[way]);
    }
  }
  if (!checked.config.dns.via.empty()) use(checked.config.dns.via);
  while (!waiting.empty()) {
    const std::string name = std::move(waiting.back());
    waiting.pop_back();
    const WayOutSpec* spec = find_spec(checked.config.ways_out, name);
    if (spec == nullptr) continue;  // direct
    std::ranges::for_each(spec->via, use);
    std::ranges::for_each(spec->members, use);
  }
  return used;
}

void warn_of_ways_out(const CheckedConfig& checked, std::vector<Error>& warnings) {
  const auto used = used_ways_out(checked);
  for (const WayOutSpec& spec : checked.config.ways_out) {
    if (!used.contains(spec.name)) {
      Error warning = make_error(Kind::configuration,
                                 fmt::format("no rule leads to the way out \"{}\"", spec.name));
      warning.place = place_of(spec, "");
      warnings.push_back(std::move(warning));
    }
    struct stat status{};
    const bool shared = !spec.password_file.empty() &&
                        ::stat(spec.password_file.c_str(), &status) == 0 &&
                        S_ISREG(status.st_mode) && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0;
    if (!shared) continue;
    Error warning = secret_error(spec, "other users can read the password file",
                                 fmt::format("chmod 600 {}", spec.password_file));
    warning.number = 0;
    warnings.push_back(std::move(warning));
  }
}

/// Of [dns], what its mode makes no use of.
void warn_of_dns(const DnsConfig& dns, std::vector<Error>& warnings) {
  const DnsConfig plain;
  const auto warn = [&](bool given, std::string_view key, std::string_view mode) {
    if (!given) return;
    Error warning = make_error(Kind::configuration, fmt::format("{} has no effect", key),
                               fmt::format("only the mode \"{}\" makes use of it", mode));
    if (dns.place) warning.place = dns.place(key);
    warnings.push_back(std::move(warning));
  };
  if (dns.mode != DnsMode::fake_ip) {
    warn(dns.range4 != plain.range4, "range4", "fake-ip");
    warn(!dns.range6.empty(), "range6", "fake-ip");
    warn(!dns.real.empty(), "real", "fake-ip");
  }
  if (dns.mode == DnsMode::system) {
    warn(!dns.tls_ca.empty(), "tls-ca", "remote");
    warn(!dns.tls_server_name.empty(), "tls-server-name", "remote");
  }
}

void warn_of_checks(const std::vector<WayOutSpec>& specs, std::vector<Error>& warnings) {
  const CheckSpec plain;
  for (const WayOutSpec& spec : specs) {
    if (!spec.check || spec.check->target.starts_with("http://")) continue;
    const bool expects = spec.check->lowest_status != plain.lowest_status ||
                         spec.check->highest_status != plain.highest_status;
    if (!expects) continue;
    Error warning = make_error(Kind::configuration, "expect has no effect",
                               "only a target of http:// answers with a status");
    warning.place = place_of(spec, "check.expect");
    warnings.push_back(std::move(warning));
  }
}

/// Whoever may send a PROXY header may claim to be anybody.
void warn_of_listeners(const CheckedConfig& checked, std::vector<Error>& warnings) {
  for (const PlainListener& listener : checked.config.listeners) {
    const auto& networks = listener.accept_proxy;
    const auto everybody = std::ranges::find(networks, 0U, &Network::prefix_length);
    if (everybody == networks.end()) continue;
    Error warning = make_error(
        Kind::configuration,
        fmt::format("listener \"{}\" takes PROXY headers from {}: whoever reaches it can "
                    "claim any address",
                    listener.name, everybody->text()),
        "the networks of the proxies alone");
    if (listener.place) warning.place = listener.place("accept-proxy");
    warnings.push_back(std::move(warning));
  }
}

}  // namespace

std::expected<CheckedConfig, Mistakes> check_config(Config config, std::uint32_t own_mark_bits) {
  Mistakes mistakes = way_out_mistakes(config.ways_out, own_mark_bits);
  if (auto listeners = check_plain_listeners(config.listeners); !listeners) {
    mistakes.push_back(std::move(listeners).error());
  }
  check_secrets(config.ways_out, mistakes);
  auto rules = Ruleset::compile(config.policy);
  if (!rules) std::ranges::move(rules.error(), std::back_inserter(mistakes));
  check_dns_way(config, rules ? rules->get() : nullptr, mistakes);
  check_notrack(config, mistakes);
  if (config.source != nullptr) order_by_place(mistakes, config.source->file());
  if (mistakes.size() > limits::kConfigMistakes) mistakes.resize(limits::kConfigMistakes);
  if (!mistakes.empty()) return std::unexpected(std::move(mistakes));
  return CheckedConfig{.config = std::move(config), .rules = *std::move(rules)};
}

std::vector<Error> config_warnings(const CheckedConfig& checked) {
  std::vector<Error> warnings;
  for (const Finding& finding : check(*checked.rules)) {
    // Which ways out are used is seen better from here: others may lead through them.
    if (finding.kind == Finding::Kind::unused_way_out) continue;
    if (finding.rule == 0) {
      warnings.push_back(make_error(Kind::configuration, finding.message));
      continue;
    }
    const RuleMistake mistake{.first = finding.span.first,
                              .length = finding.span.length,
                              .message = finding.message,
                              .suggestion = {},
                              .help = {},
                              .number = 0};
    warnings.push_back(mistake_error(mistake, checked.rules->rule(finding.rule).text,
                                     checked.rules->place(finding.rule)));
  }
  warn_of_listeners(checked, warnings);
  warn_of_ways_out(checked, warnings);
  warn_of_checks(checked.config.ways_out, warnings);
  warn_of_dns(checked.config.dns, warnings);
  return warnings;
}

}  // namespace shunt
