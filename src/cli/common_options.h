// SPDX-License-Identifier: GPL-2.0-only
// Options that `run` and `gateway` have in common: how traffic is carried, and how it is shown.
#pragma once

#include <array>
#include <string_view>

#include "base/limits.h"
#include "cli/options.h"
#include "flow/udp_nat.h"

namespace shunt::cli {

inline constexpr std::string_view kConnectModes[] = {"honest", "early"};
inline constexpr std::string_view kDnsModes[] = {"system", "remote", "fake-ip"};

inline constexpr std::array kTrafficOptions = std::to_array<Option>({
    {.name = "via",
     .type = ValueType::text,
     .value = "URL",
     .help = "carry the traffic through a proxy: socks5://[user@]host:port, socks5h://… (names "
             "are sent to it), socks4a://…, http://[user@]host:port or https://…"},
    {.name = "via-password-file",
     .type = ValueType::path,
     .value = "FILE",
     .help = "the proxy's password is the first line of FILE; without it, the environment "
             "variable SHUNT_VIA_PASSWORD"},
    {.name = "rule",
     .type = ValueType::text,
     .value = "RULE",
     .help = "what happens to a connection: 'host *.corp.example -> via', 'port 25 -> reject', …; "
             "the first that matches decides (docs/rules.md)",
     .repeatable = true},
    {.name = "connect",
     .type = ValueType::choice,
     .value = "WHEN",
     .help = "when a client's connect() succeeds: when its server has answered (honest; without "
             "this option, where that works), or at once (early; docs/honest_connect.md)",
     .choices = kConnectModes},
    {.name = "server-first",
     .type = ValueType::count,
     .value = "PORT",
     .help = "on PORT the server speaks first: no connection there waits for a name, as on the "
             "ports of FTP, SSH, SMTP, POP3, IMAP, MySQL and the like",
     .minimum = 1,
     .maximum = 65'535,
     .repeatable = true},
    {.name = "trust-dns",
     .type = ValueType::text,
     .value = "ADDRESS",
     .help = "the resolver at ADDRESS is trusted: what it answers clients verifies the names that "
             "permit (docs/rules.md)",
     .repeatable = true},
    {.name = "dns",
     .type = ValueType::choice,
     .value = "MODE",
     .help = "what becomes of queries of DNS: they go where the client sends them, or to "
             "--dns-server, or names get addresses that stand for them (docs/dns.md)",
     .fallback = "system",
     .choices = kDnsModes},
    {.name = "dns-server",
     .type = ValueType::text,
     .value = "URL",
     .help = "the server that shunt asks itself: tcp://ADDRESS, tls://ADDRESS or udp://ADDRESS; "
             "it is reached as what no rule matches"},
    {.name = "json", .help = "traffic lines as JSON, one object a line"},
    {.name = "log-to",
     .type = ValueType::path,
     .value = "FILE",
     .help = "append the traffic lines to FILE"},
    {.name = "sniff-wait",
     .type = ValueType::duration,
     .value = "TIME",
     .help = "how long to wait for a client's first bytes where a name decides something",
     .fallback = "300ms",
     .maximum = 60'000},
    {.name = "udp-mapping",
     .type = ValueType::choice,
     .value = "KIND",
     .help = "to which peers a UDP socket looks the same: to all, to all ports of one address, or "
             "to none (docs/udp.md)",
     .fallback = "endpoint-independent",
     .choices = kNatMappings},
    {.name = "udp-filtering",
     .type = ValueType::choice,
     .value = "KIND",
     .help = "whose datagrams a UDP socket is sent: everybody's, those from addresses that it has "
             "sent to, or those from their ports (docs/udp.md)",
     .fallback = "endpoint-independent",
     .choices = kNatFilterings},
    {.name = "connect-timeout",
     .type = ValueType::duration,
     .value = "TIME",
     .help = "give up connecting to an upstream after TIME",
     .fallback = "30s",
     .minimum = 1},
    {.name = "idle-timeout",
     .type = ValueType::duration,
     .value = "TIME",
     .help = "end a connection when neither side said anything for TIME",
     .fallback = "2h",
     .minimum = 1},
});

}  // namespace shunt::cli
