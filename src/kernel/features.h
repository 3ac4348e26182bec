// SPDX-License-Identifier: GPL-2.0-only
// What this kernel, in this container, for this user, really can do: found out by doing it in a
// throwaway network namespace, not by reading versions or configuration. Nothing outside that
// namespace is touched.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shunt {

enum class FeatureId : std::uint8_t {
  user_namespace,  ///< an ordinary user may make one (a real attempt, also when run by root)
  network_namespace,
  nft_owner_table,
  tproxy_ipv4,
  tproxy_ipv6,
  redirect_ipv4,
  redirect_ipv6,
  fib_expression,
  socket_expression,
  connection_mark,
  masquerade,
  policy_routing,
  transparent_socket,
  tun_device,
  queue_expression,  ///< `queue` in an owner's table
  queue_target,      ///< the same by the target of iptables
  packet_queue,      ///< a queue may be bound
  early_reject,      ///< `reject` before the routing decision
  count,
};

struct Feature {
  std::string_view name;  ///< for people and for --json: "tproxy-ipv4"
  bool available = false;
  std::string reason{};  ///< why not; "" when available
  std::string fix{};     ///< what would mend it; "" when available or unknown
};

struct Features {
  std::array<Feature, static_cast<std::size_t>(FeatureId::count)> all;
  [[nodiscard]] const Feature& operator[](FeatureId id) const {
    return all[static_cast<std::size_t>(id)];
  }
};

/// Probes everything; some tens of milliseconds. Forks: call it before starting threads.
Features probe_features();

/// Why an unprivileged user namespace is refused here, from an errno of the attempt and the host's
/// settings; Kind::unsupported or privilege, with the fix.
Error explain_user_namespace_refusal(int os_error);

}  // namespace shunt
