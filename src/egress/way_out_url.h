// SPDX-License-Identifier: GPL-2.0-only
// What `--via` says, from its text to a way out. Secrets come from a file or the environment, never
// from the URL: a command line is readable by every user of the machine (/proc/PID/cmdline).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "egress/way_out.h"

namespace shunt {

enum class ProxyScheme : std::uint8_t { socks5, socks5h, socks4a, http, https };

/// socks5://[user@]host[:port], socks5h://…, socks4a://…, http://…, https://…
/// (HTTP CONNECT within TLS). When none is given the port is 1080 for SOCKS (IANA "socks"), 8080
/// for http (IANA "http-alt") and 443 for https.
struct ProxyUrl {
  ProxyScheme scheme = ProxyScheme::socks5;
  std::optional<std::string> user;  ///< percent-decoded
  std::string host;                 ///< name or address, without brackets
  std::uint16_t port = 0;

  /// "socks5://host:port", without the user.
  [[nodiscard]] std::string name() const;
};

[[nodiscard]] bool is_http(ProxyScheme scheme);

/// The error's place shows the URL with a caret below what is wrong, and no password.
Result<ProxyUrl> parse_proxy_url(std::string_view text);

struct WayOutChoice {
  std::string url;            ///< "" is direct
  std::string password_file;  ///< "" for none: then the environment's SHUNT_VIA_PASSWORD
};

inline constexpr const char* kPasswordVariable = "SHUNT_VIA_PASSWORD";

/// Resolves the proxy's name, which may block; call before the workers start. Warns on stderr of a
/// password file that others can read.
Result<std::shared_ptr<const WayOut>> make_way_out(const WayOutChoice& choice,
                                                   const UpstreamOptions& options);

}  // namespace shunt
