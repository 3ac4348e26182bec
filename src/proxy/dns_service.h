// SPDX-License-Identifier: GPL-2.0-only
// Answers captured queries of DNS in the modes "remote" and "fake-ip" (docs/dns.md), whoever they
// were sent to, and looks names up for flows to fake addresses (proxy/dns_resolve.cc). How a query
// came and how the answer goes back is the business of its server (proxy/serve_udp_dns.cc,
// proxy/serve_dns.cc).
//
//   mode fake-ip   A, AAAA          an address of the pool, or none where it has no such range
//                  HTTPS, SVCB      none: the hints in them are real addresses
//                  PTR of a fake    the name
//   then           local names      the client's own server, if that is in a private network
//                  all others       the configured server, by the way out for DNS; where there is
//                                   none (fake-ip only) the client's, as its flow was decided
//
// What cannot be asked is answered by SERVFAIL. It never goes another way.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dns/answer_cache.h"
#include "dns/dns_config.h"
#include "dns/fake_file.h"
#include "dns/fake_pool.h"
#include "dns/memory.h"
#include "dns/message.h"
#include "dns/real_names.h"
#include "egress/own_addresses.h"
#include "egress/tls_client.h"
#include "flow/facts.h"
#include "flow/name_resolver.h"
#include "flow/record.h"
#include "proxy/dns_exchange.h"
#include "proxy/dns_stream.h"
#include "proxy/policy.h"

namespace shunt {

/// What all workers share.
struct DnsSettings {
  DnsMode mode = DnsMode::remote;
  std::optional<DnsServerAddress> server;
  std::shared_ptr<const TlsClient> tls;  ///< for Transport::tls
  std::shared_ptr<FakePool> pool;        ///< null: not fake-ip
  std::shared_ptr<FakeFile> file;        ///< may be null; goes after the last use of the pool
  std::shared_ptr<RealNames> real;       ///< names that are never faked; not null
  /// Clients are the processes of one command of this machine's user, not of a network around.
  bool own_clients = false;
};

/// From the configuration. Null: the mode is "system". Reads the certificates and, where
/// `state_file` is not "", what fake addresses meant before; a file that cannot be used is a
/// warning. Kind::configuration where a range meets an address of this machine's networks.
[[nodiscard]] Result<std::shared_ptr<const DnsSettings>> make_dns(const DnsConfig& config,
                                                                  const std::string& state_file,
                                                                  bool own_clients = false);

/// A captured query and what is known of its flow. Outlives the task that answers it.
struct DnsRequest {
  std::string_view bytes;
  const Flow& flow;
  const WayOut* carrier;                 ///< as the rules decided the flow; not null
  std::shared_ptr<const Policy> policy;  ///< that decided it
};

/// What a DnsService has of its worker beside that; outlives it.
struct DnsSurroundings {
  DnsStream::Start start;                   ///< starts what goes on beside the queries
  std::span<const Endpoint> own_listeners;  ///< nothing is led there
  dns::Memory* memory = nullptr;            ///< where answers are remembered; may be null
};

/// Of one worker.
class DnsService final : public NameResolver {
 public:
  static constexpr std::string_view kName = "dns";  ///< Flow::way_out of what it answers

  /// The arguments outlive the service.
  DnsService(EventLoop& loop, const DnsSettings& settings, const CurrentPolicy& policy,
             FlowLog& log, DnsSurroundings around);

  /// Whether it answers in the place of the flow's destination.
  [[nodiscard]] static bool takes(const Flow& flow) {
    return flow.original_destination.port == dns::kPort && flow.method != CaptureMethod::listener;
  }
  /// Empty: the query is not answered at all. Over UDP an answer is as long as the client takes it,
  /// or truncated.
  Task<std::optional<std::string>> answer(DnsRequest request);

  /// Where the flow goes to a fake address, its name is now known. Fails where the address stands
  /// for none.
  std::expected<void, ConnectFailure> name_destination(Facts& facts);
  [[nodiscard]] bool is_fake(const Address& address) const;
  [[nodiscard]] bool can_resolve() const override { return settings_.server.has_value(); }
  /// As the configured server says, without what a flow of this client must not be led to.
  Task<std::expected<std::vector<Endpoint>, ConnectFailure>> resolve(
      const Flow& flow, const std::string& name) override;
  void drain();

 private:
  struct Asked;
  Task<std::string> answer_query(const DnsRequest& request, const dns::Message& query,
                                 DnsAnswer& told);
  void remember(const DnsRequest& request, std::string_view bytes) const;
  [[nodiscard]] bool knows_nearer(const DnsRequest& request, const dns::Message& query) const;
  std::optional<std::string> fake_answer(const DnsRequest& request, const dns::Message& query,
                                         DnsAnswer& told);
  std::string reverse_answer(const DnsRequest& request, const dns::Message& query,
                             const Address& address);
  [[nodiscard]] bool fakes(const std::string& name) const;
  Task<std::optional<std::string>> ask_clients_server(const DnsRequest& request,
                                                      const dns::Message& query);
  Task<std::optional<std::string>> ask_own_server(std::shared_ptr<const Policy> policy,
                                                  DnsQuestion question);
  struct Lookup;
  class Found;
  Task<> look_up(std::string name, std::uint16_t type, std::shared_ptr<Lookup> lookup);
  [[nodiscard]] bool may_dial(const Address& address, const Flow& flow) const;
  struct SharedQuestion;
  Task<> ask_for_all(std::shared_ptr<const Policy> policy, const std::string& bytes,
                     SharedQuestion& shared);
  Task<std::optional<std::string>> ask_server(std::shared_ptr<const Policy> policy,
                                              DnsQuestion question);

  EventLoop& loop_;
  const DnsSettings& settings_;
  const CurrentPolicy& policy_;
  FlowLog& log_;
  DnsSurroundings around_;
  OwnAddresses own_addresses_;
  AnswerCache cache_;
  std::optional<DnsStream> stream_;  ///< to the server, also for what a datagram is too short for
  /// To the own server and not answered yet, by their dns::forwarded_query() with the id 0.
  std::unordered_map<std::string, std::shared_ptr<SharedQuestion>> shared_;
  std::unordered_map<Address, std::size_t, AddressHash> under_way_;  ///< queries of each client
  std::size_t all_under_way_ = 0;
};

}  // namespace shunt
