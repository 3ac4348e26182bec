// SPDX-License-Identifier: GPL-2.0-only
// How often each limit was hit and each guard acted: process-wide, safe from any thread. It lives
// in base so that every stage may count; a count costs one relaxed atomic addition and belongs to
// rare events, not to bytes or packets.
#pragma once

#include <cstdint>
#include <string_view>

namespace shunt {

enum class Counter : std::uint8_t {
  accepts_paused,            ///< out of descriptors: accept waited limits::kAcceptPauseMs
  descriptors_short,         ///< a flow was turned away to keep limits::kReservedFds
  ports_short,               ///< no local port left for an upstream socket
  loops_refused,             ///< a flow of our own came back
  direct_dials_refused,      ///< somebody dialled a listener of ours
  flows_refused,             ///< the upstream could not be reached
  flows_idle_ended,          ///< ended by an idle or half-closed timeout
  flows_cut_by_drain,        ///< still alive when the drain deadline passed
  sniff_waits_expired,       ///< no name within the sniff wait
  name_mismatches,           ///< a name would have permitted what its address does not show
  name_lookups_left_out,     ///< limits::kNamesToVerify or kVerifiedNames
  quic_hellos_given_up,      ///< limits::kQuicHelloDatagrams or kQuicCryptoPieces
  quic_ids_forgotten,        ///< limits::kQuicConnections or kQuicConnectionsPerClient
  dns_memory_evicted,        ///< one of limits::kDnsMemory…
  requests_ended_flow,       ///< a later request that the rules decide otherwise
  flows_rejected,            ///< by a rule
  flows_dropped,             ///< by a rule
  dropped_clients_given_up,  ///< limits::kDroppedClients
  pipes_short,               ///< no pipe for splice: the bytes were copied
  udp_sessions_evicted,      ///< limits::kUdpSessions
  udp_client_over_cap,       ///< limits::kUdpSessionsPerClient
  udp_mappings_evicted,      ///< limits::kUdpMappings, kUdpMappingsPerClient or descriptors
  udp_unsolicited_filtered,  ///< from a peer that the filtering or the rules keep out
  udp_unsolicited_evicted,   ///< limits::kUdpUnsolicited
  udp_dials_full,            ///< limits::kUdpDials or kUdpDialsPerClient
  udp_queue_full,            ///< limits::kUdpQueuedDatagrams, kUdpQueuedBytes or …PerClient
  udp_replies_evicted,       ///< limits::kUdpReplySockets
  udp_datagrams_dropped,     ///< could not be sent on
  udp_sockets_forgotten,     ///< limits::kDatagramSockets
  udp_sends_given_up,        ///< limits::kDatagramSendMs
  udp_receives_unwatched,    ///< limits::kReceivesWatched: looked at now and then
  stand_ins_forgotten,       ///< limits::kStandIns
  dns_queries_refused,       ///< limits::kDnsQueries or kDnsQueriesOfClient
  dns_questions_failed,      ///< the server gave no answer: SERVFAIL
  dns_answers_forgotten,     ///< limits::kDnsCached or kDnsCachedBytes
  fake_names_evicted,        ///< the range or limits::kFakeNames is used up
  fake_addresses_unknown,    ///< a flow to a fake address that stands for no name
  http_heads_too_long,       ///< limits::kHttpHeadBytes
  http_pipelines_too_deep,   ///< limits::kHttpPipelinedRequests
  tls_hellos_too_long,       ///< limits::kTlsHelloBytes
  log_lines_dropped,         ///< limits::kLogQueueLines or kLogQueueBytes
  log_flows_forgotten,       ///< limits::kLogFlows
  proxy_headers_refused,     ///< missing, late or malformed at a plain listener
  toa_left_out,              ///< a connection was made without its TOA option
  held_over_cap,             ///< limits::kHeldConnections or kHeldPerSource: let in first
  held_clients_gone,         ///< an upstream was ready, and its client never came
  call_results_lost,         ///< limits::kCallsRepeated
  connect_peers_forgotten,   ///< limits::kConnectPeers
  connect_results_lost,      ///< limits::kConnectsOwed
  parking_full,              ///< limits::kParkingPlaces
  callers_forgotten,         ///< limits::kCallingStreams or kDatagramSockets
  lingers_cut,               ///< a program's SO_LINGER was cleared so that nobody waits for it
};
inline constexpr std::size_t kCounters = static_cast<std::size_t>(Counter::lingers_cut) + 1;

void count(Counter counter, std::uint64_t times = 1);
[[nodiscard]] std::uint64_t counted(Counter counter);
/// As a metric would be called: "accepts_paused".
[[nodiscard]] std::string_view counter_name(Counter counter);

}  // namespace shunt
