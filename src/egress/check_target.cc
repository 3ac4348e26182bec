// SPDX-License-Identifier: GPL-2.0-only
#include "egress/check_target.h"

#include <fmt/format.h>

#include <utility>

#include "base/error_numbers.h"
#include "base/units.h"
#include "egress/check_way_outs.h"
#include "egress/way_out_url.h"

namespace shunt {
namespace {

constexpr std::string_view kTcp = "tcp://";
constexpr std::string_view kHttp = "http://";
constexpr std::uint16_t kHttpPort = 80;
constexpr std::string_view kForms = "tcp://192.0.2.1:443 or http://192.0.2.1/alive";

Failure bad(std::string_view why) {
  return Failure(make_error(Kind::configuration, error_number::kBadWayOut, std::string(why),
                            std::string(kForms)));
}

}  // namespace

Result<CheckTarget> parse_check_target(std::string_view text) {
  const bool http = text.starts_with(kHttp);
  if (!http && !text.starts_with(kTcp)) return bad("the target begins with tcp:// or http://");
  const auto rest = text.substr(http ? kHttp.size() : kTcp.size());
  const auto slash = rest.find('/');
  const auto authority = rest.substr(0, slash);
  const auto path = slash == std::string_view::npos ? "/" : rest.substr(slash);
  if (!http && slash != std::string_view::npos) return bad("nothing follows the port of tcp://");
  if (path.find_first_of(" \r\n\t") != std::string_view::npos) return bad("a blank in the path");
  if (authority.contains('@')) return bad("the target has no user");
  // The parser of --via knows brackets, ports and what a host may hold.
  const auto url = parse_proxy_url("socks5://" + std::string(authority));
  if (!url) return bad("the target is no host and port");
  const bool given = authority.ends_with(':' + std::to_string(url->port));
  if (!given && !http) return bad("the port is missing");
  return CheckTarget{.http = http,
                     .host = url->host,
                     .port = given ? url->port : kHttpPort,
                     .authority = std::string(authority),
                     .path = std::string(path)};
}

Result<void> check_health_check(const WayOutSpec& spec) {
  if (!spec.check) return {};
  const CheckSpec& check = *spec.check;
  if (!check.target.empty()) {
    if (auto target = parse_check_target(check.target); !target) {
      return way_out_error(
          spec, "check.target", target.error().message,
          target.error().help + "; without a target the members' proxies themselves are checked");
    }
  }
  if (check.timeout_ms == 0 || check.timeout_ms > check.interval_ms) {
    return way_out_error(spec, "check.timeout",
                         fmt::format("longer than the interval ({}), or zero",
                                     format_duration_ms(check.interval_ms)));
  }
  if (check.lowest_status > check.highest_status) {
    return way_out_error(spec, "check.expect",
                         "the expected statuses are a range, the lower one first");
  }
  return {};
}

}  // namespace shunt
