// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/features.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "kernel/capabilities.h"
#include "kernel/netns.h"
#include "kernel/nft.h"
#include "kernel/packet_queue.h"
#include "kernel/policy_route.h"
#include "kernel/queue_rule.h"
#include "kernel/tun.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr uid_t kNobody = 65534;

/// Where a probe is made. In a throwaway namespace it does the thing. In the process's own one,
/// where no other can be made but CAP_NET_ADMIN is there (a hardened service, a container), rules
/// are checked against it and nothing is committed.
enum class Place : bool { throwaway, own };

struct Probe {
  std::string_view name;
  Result<void> (*run)(Place place);
  std::string_view fix;  ///< where the Error does not know a better one
};

/// Loads a table for real, since a check would not show that it can be committed. The namespace
/// takes it away. In the own one a check must do.
Result<void> load(Place place, std::string_view name, std::string_view body) {
  const std::string text = nft_table_text(name, body, TableLifetime::persistent);
  return place == Place::throwaway ? nft_run(text) : nft_check(text);
}

Result<void> load_rule(Place place, std::string_view name, std::string_view hook,
                       std::string_view rule) {
  return load(place, name,
              fmt::format("  chain probe {{\n    type {}\n    {}\n  }}\n", hook, rule));
}

constexpr std::string_view kMangle = "filter hook prerouting priority mangle";
constexpr std::string_view kNat = "nat hook prerouting priority dstnat";

Result<void> owner_table(Place place) {
  if (place == Place::own)
    return nft_check(nft_table_text("probe_owner", "", TableLifetime::owned));
  const auto table = SHUNT_TRY(NftTable::create("probe_owner", ""));
  const auto tables = SHUNT_TRY(list_nft_tables());
  const auto found = std::ranges::find(tables, table.name(), &NftTableInfo::name);
  if (found != tables.end() && found->has_owner) return {};
  return Failure(make_error(Kind::unsupported, "the kernel ignores the owner flag of tables"));
}

Result<void> tproxy_ipv4(Place place) {
  return load_rule(place, "probe_tproxy4", kMangle,
                   "meta l4proto tcp tproxy ip to 127.0.0.1:1 accept");
}
Result<void> tproxy_ipv6(Place place) {
  return load_rule(place, "probe_tproxy6", kMangle,
                   "meta l4proto tcp tproxy ip6 to [::1]:1 accept");
}
Result<void> redirect_ipv4(Place place) {
  return load_rule(place, "probe_redirect4", kNat,
                   "meta nfproto ipv4 meta l4proto tcp redirect to :1");
}
Result<void> redirect_ipv6(Place place) {
  return load_rule(place, "probe_redirect6", kNat,
                   "meta nfproto ipv6 meta l4proto tcp redirect to :1");
}
Result<void> fib_expression(Place place) {
  return load_rule(place, "probe_fib", kMangle,
                   "fib daddr type { local, broadcast, multicast } return");
}
Result<void> socket_expression(Place place) {
  return load_rule(place, "probe_socket", kMangle, "meta l4proto tcp socket transparent 1 accept");
}
Result<void> connection_mark(Place place) {
  return load_rule(place, "probe_ct", kMangle,
                   "ct state new ct mark set ct mark & 0x00ffffff | 0x1000000");
}
Result<void> masquerade(Place place) {
  return load_rule(place, "probe_masquerade", "nat hook postrouting priority srcnat",
                   "meta l4proto tcp masquerade");
}

/// A kernel without IPv6 lacks nothing: there is no IPv6 traffic to capture.
Result<void> fine_without_ipv6(Result<void> result) {
  if (!result &&
      (result.error().os_error == EAFNOSUPPORT || result.error().os_error == EOPNOTSUPP)) {
    return {};
  }
  return result;
}

Result<void> try_rule(Family family) {
  return add_rule({.family = family,
                   .priority = 1,
                   .mark = 1,
                   .mask = 1,
                   .in_interface = "lo",
                   .table = 17700});
}

/// That rules can be listed says that the kernel has them.
Result<void> policy_routing(Place place) {
  if (place == Place::own) {
    static_cast<void>(SHUNT_TRY(list_rules(Family::ipv4)));
    return {};
  }
  SHUNT_CHECK(try_rule(Family::ipv4));
  return fine_without_ipv6(try_rule(Family::ipv6));
}

Result<void> try_transparent(Family family) {
  const auto socket = SHUNT_TRY(make_socket(family, SocketType::stream));
  return set_transparent(socket.get(), family);
}

Result<void> transparent_socket(Place /*place*/) {
  SHUNT_CHECK(try_transparent(Family::ipv4));
  return fine_without_ipv6(try_transparent(Family::ipv6));
}

Result<void> tun_device(Place place) {
  if (place == Place::own) return check_tun_access();
  static_cast<void>(SHUNT_TRY(TunDevice::create("probe%d")));
  return {};
}

constexpr std::string_view kSynOnly = "tcp flags & (fin | syn | rst | ack) == syn";

Result<void> queue_expression(Place place) {
  const std::string rule = fmt::format("{} {}", kSynOnly, queue_statement({}));
  return load_rule(place, "probe_queue", kMangle, rule);
}

/// In the process's own namespace too: nothing leads to the chain, and the table goes with the
/// process.
Result<void> queue_target(Place /*place*/) {
  auto table = SHUNT_TRY(NftTable::create("probe_nfqueue", "  chain hold {\n  }\n"));
  const std::array<ChainQueueRule, 1> rules{{{.chain = "hold", .rule = {}}}};
  return append_queue_targets(table.context(), table.name(), rules);
}

Result<void> packet_queue(Place /*place*/) {
  const std::uint16_t number = SHUNT_TRY(free_queues(1));
  auto socket = SHUNT_TRY(PacketQueue::make_socket());
  static_cast<void>(SHUNT_TRY(
      PacketQueue::create(std::move(socket), {.number = number, .most_packets = 1, .bytes = 64})));
  return {};
}

Result<void> reject_early(Place place) {
  SHUNT_CHECK(load_rule(place, "probe_reject_in", kMangle, "reject with icmpx host-unreachable"));
  return load_rule(place, "probe_reject_out", "filter hook output priority mangle",
                   "meta l4proto tcp reject with tcp reset");
}

Result<void> nothing(Place /*place*/) { return {}; }  // to have got there is the proof

// In the order of FeatureId, without user_namespace, which is tried by itself.
constexpr std::array<Probe, static_cast<std::size_t>(FeatureId::count) - 1> kProbes{{
    {"network-namespace", nothing, ""},
    {"nft-owner-table", owner_table, "Linux 5.12 or later with CONFIG_NF_TABLES"},
    {"tproxy-ipv4", tproxy_ipv4, "sudo modprobe nft_tproxy (CONFIG_NFT_TPROXY)"},
    {"tproxy-ipv6", tproxy_ipv6, "sudo modprobe nft_tproxy (CONFIG_NFT_TPROXY)"},
    {"redirect-ipv4", redirect_ipv4, "sudo modprobe nft_redir (CONFIG_NFT_REDIR)"},
    {"redirect-ipv6", redirect_ipv6, "sudo modprobe nft_redir (CONFIG_NFT_REDIR)"},
    {"fib-expression", fib_expression, "sudo modprobe nft_fib_inet (CONFIG_NFT_FIB_INET)"},
    {"socket-expression", socket_expression, "sudo modprobe nft_socket (CONFIG_NFT_SOCKET)"},
    {"connection-mark", connection_mark, "sudo modprobe nft_ct (CONFIG_NF_CONNTRACK_MARK)"},
    {"masquerade", masquerade, "sudo modprobe nft_masq (CONFIG_NFT_MASQ)"},
    {"policy-routing", policy_routing, "a kernel with CONFIG_IP_MULTIPLE_TABLES"},
    {"transparent-socket", transparent_socket, ""},
    {"tun-device", tun_device, ""},
    {"queue-expression", queue_expression, "sudo modprobe nft_queue (CONFIG_NFT_QUEUE)"},
    {"queue-target", queue_target,
     "sudo modprobe xt_NFQUEUE (CONFIG_NETFILTER_XT_TARGET_NFQUEUE, CONFIG_NFT_COMPAT)"},
    {"packet-queue", packet_queue,
     "sudo modprobe nfnetlink_queue (CONFIG_NETFILTER_NETLINK_QUEUE)"},
    {"early-reject", reject_early, "sudo modprobe nft_reject_inet (CONFIG_NFT_REJECT)"},
}};

constexpr std::size_t kFields = 3;

/// "1" or "0", reason, fix, each ended by NUL, probe by probe.
std::string run_probes(Place place) {
  std::string answer;
  for (const Probe& probe : kProbes) {
    const auto result = probe.run(place);
    if (result) {
      answer += fmt::format("1{0}{0}{0}", '\0');
      continue;
    }
    const Error& error = result.error();
    const std::string_view fix = error.help.empty() ? probe.fix : std::string_view(error.help);
    answer += fmt::format("0{0}{1}{0}{2}{0}", '\0', error.text(), fix);
  }
  return answer;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto end = std::min(text.find('\0'), text.size());
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

/// Root's own attempt would prove nothing about users: it is made as nobody.
Result<std::string> try_user_namespace() {
  if (::geteuid() == 0) {
    if (::setresgid(kNobody, kNobody, kNobody) != 0 ||
        ::setresuid(kNobody, kNobody, kNobody) != 0) {
      return Failure(errno_error("become an ordinary user"));
    }
    // Giving up root made the process undumpable, so that its /proc/self/uid_map belongs to root
    // (PR_SET_DUMPABLE, prctl(2)): a refusal that no ordinary user would meet.
    ::prctl(PR_SET_DUMPABLE, 1);
  }
  SHUNT_CHECK(enter_user_namespace(0, 0));
  SHUNT_CHECK(enter_network_namespace());
  return std::string();
}

void note(Feature& feature, const Result<std::string>& result) {
  feature.available = result.has_value();
  if (result) return;
  feature.reason = result.error().text();
  feature.fix = result.error().help;
}

}  // namespace

Features probe_features() {
  Features features;
  Feature& user_namespace = features.all.front();
  user_namespace.name = "user-namespace";
  note(user_namespace, run_in_child(try_user_namespace));
  std::optional<Result<std::string>> no_namespace;
  auto answer = run_in_throwaway_namespace(
      []() -> Result<std::string> { return run_probes(Place::throwaway); });
  if (!answer && has_capability(CAP_NET_ADMIN)) {
    // A service's sandbox or a container that forbids namespaces may allow all that is needed.
    no_namespace = std::move(answer);
    answer = run_in_child([]() -> Result<std::string> { return run_probes(Place::own); });
  }
  const auto fields = answer ? split(*answer) : std::vector<std::string>{};
  for (std::size_t i = 0; i < kProbes.size(); ++i) {
    Feature& feature = features.all[i + 1];
    feature.name = kProbes[i].name;
    if (fields.size() == kProbes.size() * kFields) {
      feature.available = fields[i * kFields] == "1";
      feature.reason = fields[i * kFields + 1];
      feature.fix = fields[i * kFields + 2];
    } else {
      note(feature, answer ? Result<std::string>(Failure(
                                 make_error(Kind::runtime, "the probing process gave no answer")))
                           : answer);
    }
  }
  if (no_namespace) {
    note(features.all[static_cast<std::size_t>(FeatureId::network_namespace)], *no_namespace);
  }
  return features;
}

}  // namespace shunt
