// SPDX-License-Identifier: GPL-2.0-only
// The maxima that more than one folder knows or that users may come to meet; those of one folder
// alone stand beside what they bound (dns/limits.h, egress/group.h). What is left out or refused
// for one of them while shunt runs is counted in base/counters.h. Sizes in bytes, times in
// milliseconds unless the name says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shunt::limits {

// Relay.
inline constexpr std::size_t kScratchBytes = 64 * 1024;  ///< one read; one buffer a worker
inline constexpr std::size_t kPipeBytes = 256 * 1024;    ///< F_SETPIPE_SZ of a pooled pipe
inline constexpr std::size_t kPooledPipes = 64;          ///< idle pipes kept by a worker
inline constexpr std::size_t kTurnBytes = 1024 * 1024;   ///< moved for one flow before it yields
inline constexpr std::size_t kCrowdedTurnBytes = 256 * 1024;  ///< the same beside small flows
inline constexpr std::size_t kHurriedTurnBytes = 32 * 1024;   ///< the same while these come at once
inline constexpr int kTurnRounds = 16;                    ///< reads for one flow before it yields
inline constexpr int kBulkReads = 3;                      ///< large reads in a row before splice
inline constexpr std::size_t kBulkReadBytes = 16 * 1024;  ///< what counts as a large read
inline constexpr int kSmallSplices = 16;                  ///< small moves in a row before copy
inline constexpr std::size_t kSmallSpliceBytes = 8 * 1024;

// Flows.
inline constexpr int kAcceptBatch = 64;      ///< accepts for one readiness event
inline constexpr int kListenBacklog = 4096;  ///< capped by net.core.somaxconn
inline constexpr int kReservedFds = 12;      ///< beyond those open when the proxy starts
inline constexpr int kFdsPerFlow = 2;
inline constexpr std::uint32_t kConnectTimeoutMs = 30'000;
inline constexpr std::uint32_t kHandshakeTimeoutMs = 15'000;      ///< with an upstream proxy
inline constexpr std::uint32_t kIdleTimeoutMs = 2 * 3600 * 1000;  ///< neither side said anything
inline constexpr std::uint32_t kHalfClosedTimeoutMs = 15 * 60 * 1000;
inline constexpr int kKeepaliveIdleSeconds = 60;
inline constexpr int kKeepaliveIntervalSeconds = 15;
inline constexpr int kKeepaliveProbes = 4;
inline constexpr int kDeadPeerSeconds =
    kKeepaliveIdleSeconds + kKeepaliveIntervalSeconds * kKeepaliveProbes;
inline constexpr std::uint32_t kDrainTimeoutMs = 10'000;
inline constexpr std::uint32_t kSniffWaitMs = 300;    ///< reliability row 11
inline constexpr std::size_t kDroppedClients = 1024;  ///< of a worker, accepted and then dropped
inline constexpr std::uint32_t kDroppedClientMs = 50'000;  ///< then it may get a reset
inline constexpr std::uint32_t kAcceptPauseMs = 64;        ///< after EMFILE, before the next accept

// Held clients (capture/held_connections.h). Beyond the caps a client is let in first.
inline constexpr std::size_t kHeldConnections = 2048;     ///< of one worker
inline constexpr std::size_t kHeldPerSource = 512;        ///< of one worker; of IPv6: a /64
inline constexpr std::size_t kLetInRemembered = 1024;     ///< of one worker; uncounted
inline constexpr std::uint32_t kHeldAdmitMs = 10'000;     ///< then a client that was let in is gone
inline constexpr std::uint32_t kHeldPacketBytes = 128;    ///< of a SYN that are looked at
inline constexpr std::uint32_t kHeldQueuePackets = 4096;  ///< in the kernel; more pass, uncounted

// Verification of names.
inline constexpr std::size_t kVerifiedNames = 4096;   ///< whose addresses are remembered
inline constexpr std::size_t kNamesToVerify = 256;    ///< that wait to be looked up
inline constexpr unsigned kVerifierThreads = 4;       ///< lookups at the same time
inline constexpr std::size_t kAddressesOfName = 256;  ///< the rest does not count
inline constexpr std::uint32_t kVerifiedNameMs = 60'000;
inline constexpr std::uint32_t kUnknownNameMs = 5'000;  ///< a name without an address

// Names from QUIC, and from DNS answers that passed.
inline constexpr std::size_t kQuicHelloDatagrams = 8;  ///< of a client, looked at for its hello
inline constexpr std::size_t kQuicCryptoPieces = 64;   ///< of a hello, with gaps between them
inline constexpr std::size_t kQuicBegun = 8;           ///< connections at a time in one UDP session
inline constexpr std::size_t kDnsMemoryClients = 256;  ///< whose answers are remembered
inline constexpr std::size_t kDnsMemoryAddresses = 512;    ///< of one client
inline constexpr std::size_t kDnsMemoryTrusted = 16'384;   ///< addresses in trusted answers
inline constexpr std::size_t kDnsMemoryNames = 4;          ///< of one address; the newest stay
inline constexpr std::size_t kDnsQuestionsOfSession = 16;  ///< unanswered; the newest stay
inline constexpr std::uint32_t kDnsMemoryLeastS = 300;     ///< clients use addresses for longer
inline constexpr std::uint32_t kDnsMemoryMostS = 24 * 3600;

// Ways out that keep the client's address.
inline constexpr int kAstrayProbes = 4;                   ///< connections of our own, at once
inline constexpr std::uint32_t kAstrayProbeMs = 3'000;    ///< then the server answers nobody
inline constexpr std::size_t kAstrayServers = 64;         ///< looked at by one way out
inline constexpr std::uint32_t kAstrayAgainMs = 600'000;  ///< then they are looked at again
inline constexpr std::uint32_t kOwnAddressesMs = 1'000;   ///< how long a list of them holds

// Observation.
inline constexpr std::size_t kHttpHeadBytes = 16 * 1024;  ///< a longer head ends its parsing
inline constexpr std::size_t kTlsHelloBytes = 16 * 1024;
inline constexpr std::size_t kHttpPipelinedRequests = 64;  ///< unanswered; more end its parsing
inline constexpr std::size_t kHttpLabelBytes = 256;  ///< of a request's target kept until answered
inline constexpr std::size_t kTlsAlpnNames = 16;     ///< of an offer; the rest is not shown
inline constexpr std::size_t kLogQueueLines = 8192;  ///< lines waiting for a slow terminal
inline constexpr std::size_t kLogQueueBytes = 8 * 1024 * 1024;
inline constexpr std::size_t kLogTextBytes = 1024;    ///< of one peer-supplied text in a line
inline constexpr std::size_t kLogFlows = 65'536;      ///< live flows whose name the log remembers
inline constexpr int kRepeatedWarningsPerSecond = 4;  ///< of one kind; row 5 allows 10 in all

// Plain listeners and the headers that arrive there.
inline constexpr std::size_t kListenAddresses = 64;        ///< of all [listen.NAME] together
inline constexpr std::size_t kProxyHeaderBytes = 4096;     ///< the format goes up to 65,551
inline constexpr std::uint32_t kProxyHeaderWaitMs = 3000;  ///< for all of a PROXY header

// `shunt run`.
inline constexpr unsigned kRunWorkers = 8;  ///< of `run`; each costs some of its start-up time
inline constexpr std::size_t kRecentOrigins = 16'384;    ///< destinations of datagrams, remembered
inline constexpr std::uint32_t kRecentOriginMs = 1'000;  ///< for so long
inline constexpr std::size_t kNamedSockets = 65'536;     ///< whose process is remembered
inline constexpr std::size_t kDescendants = 4096;        ///< of the command, looked at for a name

// Rules. Hitting one is an error when the rules are loaded.
inline constexpr std::size_t kRuleBytes = 64 * 1024;
inline constexpr std::size_t kRules = 200'000;
inline constexpr std::size_t kRuleTerms = 64;
inline constexpr std::size_t kTermValues = 4096;            ///< more belong into a file
inline constexpr std::size_t kElseSteps = 8;                ///< ways out of one rule
inline constexpr std::size_t kRuleMistakes = 20;            ///< reported at once
inline constexpr std::size_t kRulePatterns = 2000;          ///< of one set of rules
inline constexpr std::size_t kPatternBytes = 1000;          ///< of one pattern's text
inline constexpr std::size_t kPatternMemory = 1 << 20;      ///< RE2 may use for one pattern
inline constexpr std::size_t kPatternSetMemory = 64 << 20;  ///< and for all together
inline constexpr std::size_t kListFileBytes = 64 << 20;     ///< of `host @FILE`
inline constexpr std::size_t kListEntries = 2'000'000;      ///< of one file
inline constexpr std::size_t kMmdbBytes = 512 << 20;        ///< of a country or ASN database

// The configuration file.
inline constexpr std::size_t kConfigBytes = 32 << 20;  ///< of the file; long lists have their own
inline constexpr std::size_t kConfigMistakes = 20;     ///< reported at once

// Kernel state.
inline constexpr std::size_t kHeldFds = 64;  ///< descriptors that hold kernel state (held_fd.h)
inline constexpr std::size_t kTextFileBytes = 1024 * 1024;  ///< of /proc and of shunt's records

}  // namespace shunt::limits
