// SPDX-License-Identifier: GPL-2.0-only
// What a configuration says of its ways out, as plain data, and what is made of it.
//
// A way out is one of three kinds. Without `proxy` and `group` it is direct: the destination is
// dialled. With `proxy` it is that proxy. With `group` it is one of `members`, chosen anew for each
// flow. `via` makes the connection through others, the first hop first: each is reached through the
// one before it, and the proxy of the way out itself is reached through the last.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "egress/group.h"
#include "egress/keep_source.h"
#include "egress/way_out.h"
#include "flow/proxy_protocol.h"

namespace shunt {

struct WayOutSpec {
  std::string name;  ///< of the table: [via.NAME]

  // How sockets of shunt's own leave: of a direct way out, or those towards the (first) proxy.
  std::string interface{};              ///< SO_BINDTODEVICE
  std::optional<std::uint32_t> mark{};  ///< for rules of the user's; must not meet shunt's own bits
  std::vector<Address> source{};        ///< at most one of each family
  std::optional<std::uint32_t> table{};     ///< routing table
  KeptEnd keep_source = KeptEnd::none;      ///< of the client; in place of `source`
  std::vector<Network> keep_source_from{};  ///< whose; empty: everybody's

  // A proxy, and what it is told.
  std::string proxy{};            ///< "socks5://host:1080", socks5h, socks4a, http(s); "": none
  bool resolve = false;           ///< sends a sniffed name instead of the address (always: socks5h)
  std::string user{};             ///< or in the URL
  std::string password_file{};    ///< path
  std::string credential{};       ///< name of a file in $CREDENTIALS_DIRECTORY (systemd.exec(5))
  std::string tls_ca{};           ///< https: PEM file of whom to trust; "": the system's store
  std::string tls_server_name{};  ///< https: the certificate's name; "": the URL's host
  std::vector<std::string> via{};

  /// Said to whatever is reached, before the flow's first byte.
  std::optional<proxy_protocol::Version> proxy_protocol{};
  bool toa = false;  ///< and the client's address in a TCP option of the SYN (kernel/toa.h)
  std::optional<std::uint32_t> connect_timeout_ms{};
  ConnectMode connect = ConnectMode::automatic;

  std::optional<GroupKind> group{};
  std::vector<std::string> members{};
  std::optional<CheckSpec> check{};

  /// Where a key's value stands, as lines ready to print (Error::place); may be empty, and may
  /// yield "". The keys are those of the table: "interface", "via", "password-file", …; "" is the
  /// table itself.
  std::function<std::string(std::string_view key)> place{};
};

/// What the ways out of a process have in common.
struct WayOutContext {
  UpstreamOptions options{};        ///< the process's mark, observer and timeouts
  std::uint32_t own_mark_bits = 0;  ///< shunt's (kernel/marks.h, Marks::mask, table_marks.h)
  /// For `table`: marks that lead to tables (kernel/table_marks.h).
  std::map<std::uint32_t, std::uint32_t> table_marks{};
};

struct WaysOut {
  /// "direct" is always there.
  std::map<std::string, std::shared_ptr<const WayOut>, std::less<>> by_name;
  std::vector<std::shared_ptr<const Group>> groups;  ///< for status and HealthChecker

  /// Null for an unknown name.
  [[nodiscard]] std::shared_ptr<const WayOut> find(std::string_view name) const;
};

/// Checks everything before it makes anything; the first mistake is the error, with its number, the
/// way out, the key and, through WayOutSpec::place, where it stands. Resolves the proxies' names
/// and reads secrets, which may block: call it before the workers start.
Result<WaysOut> make_ways_out(std::span<const WayOutSpec> specs, const WayOutContext& context);

}  // namespace shunt
