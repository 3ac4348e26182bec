// SPDX-License-Identifier: GPL-2.0-only
#include "base/counters.h"

#include <array>
#include <atomic>

namespace shunt {
namespace {

constinit std::array<std::atomic<std::uint64_t>, kCounters> counts{};

// clang-format off: one a line, so that additions do not meet
constexpr std::array<std::string_view, kCounters> kNames = {
    "accepts_paused",
    "descriptors_short",
    "ports_short",
    "loops_refused",
    "direct_dials_refused",
    "flows_refused",
    "flows_idle_ended",
    "flows_cut_by_drain",
    "sniff_waits_expired",
    "name_mismatches",
    "name_lookups_left_out",
    "quic_hellos_given_up",
    "quic_ids_forgotten",
    "dns_memory_evicted",
    "requests_ended_flow",
    "flows_rejected",
    "flows_dropped",
    "dropped_clients_given_up",
    "pipes_short",
    "udp_sessions_evicted",
    "udp_client_over_cap",
    "udp_mappings_evicted",
    "udp_unsolicited_filtered",
    "udp_unsolicited_evicted",
    "udp_dials_full",
    "udp_queue_full",
    "udp_replies_evicted",
    "udp_datagrams_dropped",
    "udp_sockets_forgotten",
    "udp_sends_given_up",
    "udp_receives_unwatched",
    "stand_ins_forgotten",
    "dns_queries_refused",
    "dns_questions_failed",
    "dns_answers_forgotten",
    "fake_names_evicted",
    "fake_addresses_unknown",
    "http_heads_too_long",
    "http_pipelines_too_deep",
    "tls_hellos_too_long",
    "log_lines_dropped",
    "log_flows_forgotten",
    "proxy_headers_refused",
    "toa_left_out",
    "held_over_cap",
    "held_clients_gone",
    "call_results_lost",
    "connect_peers_forgotten",
    "connect_results_lost",
    "parking_full",
    "callers_forgotten",
    "lingers_cut",
};
// clang-format on
static_assert(!kNames.back().empty(), "every counter has a name");

std::size_t index(Counter counter) { return static_cast<std::size_t>(counter); }

}  // namespace

void count(Counter counter, std::uint64_t times) {
  counts[index(counter)].fetch_add(times, std::memory_order_relaxed);
}

std::uint64_t counted(Counter counter) {
  return counts[index(counter)].load(std::memory_order_relaxed);
}

std::string_view counter_name(Counter counter) { return kNames[index(counter)]; }

}  // namespace shunt
