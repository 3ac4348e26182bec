// SPDX-License-Identifier: GPL-2.0-only
#include "config/schema.h"

#include <algorithm>
#include <array>

#include "flow/udp_nat.h"

namespace shunt {
namespace {

constexpr std::string_view kMethods[] = {"auto", "tproxy", "redirect"};
constexpr std::string_view kConnect[] = {"honest", "early"};
constexpr std::string_view kOnExit[] = {"open", "closed"};
constexpr std::string_view kDnsModes[] = {"system", "remote", "fake-ip"};
constexpr std::string_view kFormats[] = {"text", "json"};
constexpr std::string_view kProxyProtocol[] = {"v1", "v2"};
constexpr std::string_view kListenProtocols[] = {"tcp", "udp", "both"};
constexpr std::string_view kKeepSource[] = {"port"};
constexpr std::string_view kGroups[] = {"failover", "round-robin", "least-latency", "hash client"};

constexpr std::array kSchema = std::to_array<KeySpec>({
    {.table = "", .name = "version", .type = KeyType::count},
    {.table = "", .name = "capture", .type = KeyType::table},
    {.table = "", .name = "listen", .type = KeyType::tables},
    {.table = "", .name = "via", .type = KeyType::tables},
    {.table = "", .name = "rules", .type = KeyType::table},
    {.table = "", .name = "dns", .type = KeyType::table},
    {.table = "", .name = "udp", .type = KeyType::table},
    {.table = "", .name = "limits", .type = KeyType::table},
    {.table = "", .name = "log", .type = KeyType::table},

    {.table = "capture", .name = "lan", .type = KeyType::texts, .may_be_empty = true},
    {.table = "capture", .name = "host", .type = KeyType::boolean, .fallback = "false"},
    {.table = "capture", .name = "loopback", .type = KeyType::boolean, .fallback = "false"},
    {.table = "capture",
     .name = "method",
     .type = KeyType::choice,
     .fallback = "\"auto\"",
     .choices = kMethods},
    {.table = "capture",
     .name = "connect",
     .type = KeyType::choice,
     .fallback = "honest where that works",
     .choices = kConnect},
    {.table = "capture",
     .name = "exclude",
     .type = KeyType::texts,
     .may_be_empty = true,
     .are_rules = true},
    {.table = "capture",
     .name = "on-exit",
     .type = KeyType::choice,
     .fallback = "\"open\"",
     .choices = kOnExit},
    {.table = "capture", .name = "masquerade", .type = KeyType::boolean, .fallback = "false"},
    {.table = "capture", .name = "notrack", .type = KeyType::boolean, .fallback = "false"},

    {.table = "listen.*", .name = "address", .type = KeyType::endpoints},
    {.table = "listen.*", .name = "to", .type = KeyType::endpoint},
    {.table = "listen.*", .name = "accept-proxy", .type = KeyType::networks, .may_be_empty = true},
    {.table = "listen.*",
     .name = "protocol",
     .type = KeyType::choice,
     .fallback = "\"tcp\"",
     .choices = kListenProtocols},

    {.table = "via.*", .name = "interface", .type = KeyType::text},
    {.table = "via.*", .name = "mark", .type = KeyType::count, .minimum = 1},
    {.table = "via.*", .name = "source", .type = KeyType::addresses},
    {.table = "via.*", .name = "table", .type = KeyType::count, .minimum = 1},
    {.table = "via.*",
     .name = "keep-source",
     .type = KeyType::switched,
     .fallback = "false",
     .choices = kKeepSource},
    {.table = "via.*",
     .name = "keep-source-from",
     .type = KeyType::texts,
     .help_if_empty =
         "keep-source = false keeps nobody's address; without the key, everybody's is kept"},
    {.table = "via.*", .name = "proxy", .type = KeyType::text},
    {.table = "via.*", .name = "resolve", .type = KeyType::boolean, .fallback = "false"},
    {.table = "via.*", .name = "user", .type = KeyType::text},
    {.table = "via.*", .name = "password-file", .type = KeyType::text},
    {.table = "via.*", .name = "credential", .type = KeyType::text},
    {.table = "via.*", .name = "tls-ca", .type = KeyType::text},
    {.table = "via.*", .name = "tls-server-name", .type = KeyType::text},
    {.table = "via.*", .name = "via", .type = KeyType::texts},
    {.table = "via.*",
     .name = "proxy-protocol",
     .type = KeyType::choice,
     .choices = kProxyProtocol},
    {.table = "via.*", .name = "toa", .type = KeyType::boolean, .fallback = "false"},
    {.table = "via.*",
     .name = "connect-timeout",
     .type = KeyType::duration,
     .fallback = "that of [limits]",
     .minimum = 1},
    {.table = "via.*",
     .name = "connect",
     .type = KeyType::choice,
     .fallback = "that of [capture]",
     .choices = kConnect},
    {.table = "via.*", .name = "group", .type = KeyType::choice, .choices = kGroups},
    {.table = "via.*", .name = "members", .type = KeyType::texts},
    {.table = "via.*", .name = "check", .type = KeyType::table},

    {.table = "via.*.check", .name = "target", .type = KeyType::text},
    {.table = "via.*.check", .name = "expect", .type = KeyType::text, .fallback = "\"200-399\""},
    {.table = "via.*.check",
     .name = "interval",
     .type = KeyType::duration,
     .fallback = "\"10s\"",
     .minimum = 100},
    {.table = "via.*.check",
     .name = "timeout",
     .type = KeyType::duration,
     .fallback = "\"5s\"",
     .minimum = 1},

    {.table = "rules",
     .name = "match",
     .type = KeyType::texts,
     .may_be_empty = true,
     .are_rules = true},
    {.table = "rules", .name = "default", .type = KeyType::text, .fallback = "\"direct\""},
    {.table = "rules", .name = "country-db", .type = KeyType::text},
    {.table = "rules", .name = "asn-db", .type = KeyType::text},

    {.table = "dns", .name = "trusted", .type = KeyType::addresses, .may_be_empty = true},
    {.table = "dns",
     .name = "mode",
     .type = KeyType::choice,
     .fallback = "\"system\"",
     .choices = kDnsModes},
    {.table = "dns", .name = "server", .type = KeyType::text},
    {.table = "dns", .name = "via", .type = KeyType::text, .fallback = "that of the default"},
    {.table = "dns", .name = "tls-ca", .type = KeyType::text},
    {.table = "dns", .name = "tls-server-name", .type = KeyType::text},
    {.table = "dns", .name = "range4", .type = KeyType::text, .fallback = "\"198.18.0.0/15\""},
    {.table = "dns", .name = "range6", .type = KeyType::text},
    {.table = "dns", .name = "real", .type = KeyType::texts, .may_be_empty = true},

    {.table = "udp",
     .name = "mapping",
     .type = KeyType::choice,
     .fallback = "\"endpoint-independent\"",
     .choices = kNatMappings},
    {.table = "udp",
     .name = "filtering",
     .type = KeyType::choice,
     .fallback = "\"endpoint-independent\"",
     .choices = kNatFilterings},
    {.table = "udp",
     .name = "timeout",
     .type = KeyType::duration,
     .fallback = "\"2m\"",
     .minimum = 1},
    {.table = "udp",
     .name = "answered-timeout",
     .type = KeyType::duration,
     .fallback = "\"5m\"",
     .minimum = 1},
    {.table = "udp",
     .name = "quic-timeout",
     .type = KeyType::duration,
     .fallback = "\"5m\"",
     .minimum = 1},
    {.table = "udp",
     .name = "query-timeout",
     .type = KeyType::duration,
     .fallback = "\"10s\"",
     .minimum = 1},
    {.table = "udp",
     .name = "mapping-timeout",
     .type = KeyType::duration,
     .fallback = "\"2m\"",
     .minimum = 1},

    {.table = "limits",
     .name = "workers",
     .type = KeyType::count,
     .fallback = "one for each core",
     .minimum = 1,
     .maximum = 256},
    {.table = "limits",
     .name = "sniff-wait",
     .type = KeyType::duration,
     .fallback = "\"300ms\"",
     .maximum = 60'000},
    {.table = "limits", .name = "server-first", .type = KeyType::ports, .may_be_empty = true},
    {.table = "limits",
     .name = "connect-timeout",
     .type = KeyType::duration,
     .fallback = "\"30s\"",
     .minimum = 1},
    {.table = "limits",
     .name = "idle-timeout",
     .type = KeyType::duration,
     .fallback = "\"2h\"",
     .minimum = 1},
    {.table = "limits", .name = "drain-timeout", .type = KeyType::duration, .fallback = "\"10s\""},

    {.table = "log",
     .name = "format",
     .type = KeyType::choice,
     .fallback = "\"text\"",
     .choices = kFormats},
    {.table = "log", .name = "to", .type = KeyType::text},
});

}  // namespace

std::span<const KeySpec> schema() { return kSchema; }

const KeySpec* find_key(std::string_view table, std::string_view name) {
  const auto* found = std::ranges::find_if(
      kSchema, [&](const KeySpec& key) { return key.table == table && key.name == name; });
  return found == kSchema.end() ? nullptr : found;
}

std::string_view type_name(KeyType type) {
  switch (type) {
    case KeyType::text: return "text";
    case KeyType::texts: return "list of texts";
    case KeyType::addresses: return "address or list of addresses";
    case KeyType::ports: return "list of ports";
    case KeyType::endpoint: return "address and port";
    case KeyType::endpoints: return "address and port, or list of them";
    case KeyType::networks: return "network or list of networks";
    case KeyType::boolean: return "boolean";
    case KeyType::count: return "whole number";
    case KeyType::duration: return "duration";
    case KeyType::choice: return "word";
    case KeyType::switched: return "boolean or word";
    case KeyType::table: return "table";
    case KeyType::tables: return "tables";
  }
  return {};
}

}  // namespace shunt
