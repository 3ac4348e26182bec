// SPDX-License-Identifier: GPL-2.0-only
#include "egress/proxy_link.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "unit/egress/fake_peer.h"

namespace shunt {
namespace {

using namespace test;

const Endpoint kOld{*Address::parse("192.0.2.1"), 1080};
const Endpoint kOther{*Address::parse("192.0.2.2"), 1080};
const Endpoint kNew{*Address::parse("192.0.2.3"), 1080};

/// A hop that reaches nothing; keeps what it was asked for.
class DeadEnd : public WayOut {
 public:
  std::string_view name() const override { return "dead-end"; }
  bool wants_name() const override { return true; }
  bool carries_udp() const override { return false; }
  Task<std::expected<Upstream, ConnectFailure>> connect(EventLoop&, const Flow& flow,
                                                        const Hints& hints) const override {
    asked.push_back(hints.host + " " + flow.original_destination.text());
    co_return std::unexpected(failure_from_errno(EHOSTUNREACH));
  }
  Task<std::expected<UdpUpstream, ConnectFailure>> associate(EventLoop&,
                                                             const Flow&) const override {
    co_return std::unexpected(failure_from_errno(EHOSTUNREACH));
  }

  mutable std::vector<std::string> asked;
};

Result<std::vector<Endpoint>> moved(const std::string&, std::uint16_t) { return std::vector{kNew}; }

/// What `hop` is asked for by one connection to the server behind it.
std::vector<std::string> asked_of(const std::shared_ptr<DeadEnd>& hop, const ProxyServer& server) {
  hop->asked.clear();
  Stage stage;
  const Flow flow = flow_to(*Endpoint::parse("198.51.100.7:80"));
  EXPECT_FALSE(stage.run(ProxyLink::open(stage.loop(), server, flow)).has_value());
  return hop->asked;
}

TEST(ProxyLink, behind_a_hop_is_looked_for_again_where_its_name_has_gone) {
  const auto hop = std::make_shared<DeadEnd>();
  ProxyServer server("far", {kOld, kOther}, {}, {});
  server.host = "far.shunt.example";
  server.through = hop;
  server.book = std::make_shared<const AddressBook>(server.host, 1080, server.addresses, moved);
  // The name goes to a hop that may resolve it, once; behind it the addresses are tried.
  EXPECT_EQ(asked_of(hop, server),
            (std::vector<std::string>{"far.shunt.example 192.0.2.1:1080", " 192.0.2.2:1080"}));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (server.book->current()->front() != kNew) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  }
  EXPECT_EQ(asked_of(hop, server), std::vector<std::string>{"far.shunt.example 192.0.2.3:1080"});
}

}  // namespace
}  // namespace shunt
