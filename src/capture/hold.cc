// SPDX-License-Identifier: GPL-2.0-only
#include "capture/hold.h"

#include <fmt/format.h>

#include <utility>

#include "capture/ruleset_text.h"

namespace shunt::hold {
namespace {

/// Of a source port, by which SYNs are shared out. Not the lowest bit: connect() prefers ports that
/// are all even or all odd (__inet_hash_connect()).
constexpr unsigned kBuckets = 16;

std::string hold_chain(unsigned worker) { return fmt::format("{}_{}", kHold, worker); }

std::string share_out(const HoldSpec& spec) {
  if (spec.queues == 1) return fmt::format("goto {}", hold_chain(0));
  std::string map;
  for (unsigned bucket = 0; bucket < kBuckets; ++bucket) {
    map += fmt::format("{}{} : goto {}", bucket == 0 ? "" : ", ", bucket * 2,
                       hold_chain(bucket % spec.queues));
  }
  return fmt::format("tcp sport & {} vmap {{ {} }}", (kBuckets - 1) * 2, map);
}

/// The last rules of their chains.
std::vector<ChainQueueRule> queue_rules(const HoldSpec& spec) {
  std::vector<ChainQueueRule> rules;
  for (unsigned worker = 0; worker < spec.queues; ++worker) {
    const auto number = static_cast<std::uint16_t>(spec.first_queue + worker);
    rules.push_back({hold_chain(worker), {.first = number}});
  }
  rules.push_back({std::string(kRequeue), {.first = spec.first_queue}});
  return rules;
}

}  // namespace

std::string set_mark(const HoldMarks& marks, std::uint32_t value, bool keep_worker) {
  const std::uint32_t workers = marks.worker_unit * (marks.most_workers - 1);
  const std::uint32_t changed = keep_worker ? marks.mask : marks.mask | workers;
  return fmt::format("meta mark set meta mark & {:#010x} | {:#010x}", ~changed, value);
}

std::string chains(const HoldSpec& spec) {
  std::string text = nft_chain(kHold, "", {share_out(spec)});
  for (const auto& [chain, rule] : queue_rules(spec)) {
    std::vector<std::string> statements;
    if (chain != kRequeue) {
      const auto worker = static_cast<unsigned>(rule.first - spec.first_queue);
      statements.push_back(set_mark(spec.marks, spec.marks.held_for(worker)));
    }
    if (!spec.by_target) statements.push_back(queue_statement(rule));
    text += nft_chain(chain, "", statements);
  }
  return text;
}

std::vector<std::string> refusals(const HoldMarks& marks) {
  return {fmt::format("{} reject with tcp reset", marks.match(marks.reset)),
          fmt::format("{} reject with icmpx host-unreachable", marks.match(marks.host_unreachable)),
          fmt::format("{} reject with icmpx no-route", marks.match(marks.network_unreachable))};
}

std::vector<std::string> to_socket(bool ipv6, std::string_view then) {
  std::vector<std::string> out{
      fmt::format("meta l4proto tcp tproxy ip to 127.0.0.1:{} {}accept", kNoListener, then)};
  if (ipv6) {
    out.push_back(
        fmt::format("meta l4proto tcp tproxy ip6 to [::1]:{} {}accept", kNoListener, then));
  }
  return out;
}

std::vector<std::string> described_rules(const HoldSpec& spec) {
  std::vector<std::string> out;
  if (!spec.by_target) return out;
  for (const auto& [chain, rule] : queue_rules(spec)) {
    out.push_back(fmt::format("chain {}: {}", chain, queue_statement(rule)));
  }
  return out;
}

Result<void> append_queue_rules(NftContext& owner, std::string_view table, const HoldSpec& spec) {
  if (!spec.by_target) return {};
  return append_queue_targets(owner, table, queue_rules(spec));
}

}  // namespace shunt::hold
