// SPDX-License-Identifier: GPL-2.0-only
#include "cli/dns_setup.h"

#include <cstdlib>
#include <optional>
#include <utility>

#include "base/error_numbers.h"
#include "cli/options.h"
#include "cli/place.h"
#include "egress/health_checker.h"
#include "egress/way_out_url.h"
#include "rule/values.h"

namespace shunt::cli {
namespace {

/// shunt looks these names up itself, now and then, and must not be told a fake address.
void keep_host_real(const std::string& host, DnsConfig& dns) {
  if (Address::parse(host)) return;
  if (auto name = host_name(host)) dns.real.push_back(*std::move(name));
}

void keep_real(const std::string& proxy, DnsConfig& dns) {
  if (proxy.empty()) return;
  if (const auto url = parse_proxy_url(proxy)) keep_host_real(url->host, dns);
}

Error as_option(Error error, const DnsConfig& dns, const Options& options) {
  error.kind = Kind::usage;
  if (error.number == error_number::kBadKeyValue && !dns.server.empty()) {
    error.number = error_number::kBadValue;
    error.message = "--dns-server: " + error.message;
    error.place = point_at_value(options.command().name, "dns-server", dns.server);
  }
  error.help = "--dns remote --dns-server tcp://192.0.2.53      (or tls:// or udp://)";
  return error;
}

}  // namespace

Result<DnsConfig> dns_config(const Options& options) {
  DnsConfig dns;
  dns.mode = dns_mode(options.value("dns")).value_or(DnsMode::system);
  dns.server = options.value("dns-server");
  if (auto checked = check_dns(dns); !checked) {
    return Failure(as_option(std::move(checked).error(), dns, options));
  }
  keep_real(options.value("via"), dns);
  return dns;
}

DnsConfig dns_config(const Config& config) {
  DnsConfig dns = config.dns;
  for (const WayOutSpec& spec : config.ways_out) {
    keep_real(spec.proxy, dns);
    const auto checked = spec.check ? check_host(*spec.check) : std::nullopt;
    if (checked) keep_host_real(*checked, dns);
  }
  return dns;
}

bool takes_own_dns(const DnsConfig& dns, const Ruleset& rules, bool host) {
  return host && (dns.mode != DnsMode::system || rules.uses(TermKey::host));
}

Result<std::shared_ptr<const DnsSettings>> set_up_dns(const DnsConfig& dns, CaptureMethod method) {
  if (dns.mode != DnsMode::system && method != CaptureMethod::tproxy) {
    return Failure(
        make_error(Kind::unsupported, error_number::kNoTproxy,
                   "DNS is answered only where TPROXY captures: by REDIRECT no datagram "
                   "is, and queries would leave unseen",
                   "leave out --method redirect; where it is not given, `shunt doctor` says why "
                   "TPROXY does not work"));
  }
  return make_dns(dns, fake_state_file());
}

std::string fake_state_file() {
  const char* forced = ::secure_getenv("SHUNT_STATE_DIR");
  const bool given = forced != nullptr && *forced != '\0';
  return std::string(given ? forced : "/var/lib/shunt") + "/fake-ip";
}

}  // namespace shunt::cli
