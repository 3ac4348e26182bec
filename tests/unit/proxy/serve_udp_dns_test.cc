// SPDX-License-Identifier: GPL-2.0-only
#include <memory>
#include <string>
#include <utility>

#include "proxy/dns_service.h"
#include "unit/proxy/dns_fixture.h"
#include "unit/proxy/serve_udp_fixture.h"

namespace shunt {
namespace {

using namespace test;

/// Goes after the server that uses it.
struct WithService {
  DnsSettings settings_;
  std::unique_ptr<DnsService> service_;
};

/// Queries of UDP to any server are answered here.
class ServeUdpDnsTest : private WithService, public ServeUdpTest {
 protected:
  ServeUdpDnsTest() {
    settings_.server = DnsServerAddress{.transport = Transport::udp, .endpoint = server.endpoint()};
    service_ = std::make_unique<DnsService>(
        loop.loop(), settings_, policy, log,
        DnsSurroundings{.start = [](Task<> task) { spawn(std::move(task)); }, .own_listeners = {}});
    options.dns = service_.get();
    set_destination({server.endpoint().address, dns::kPort});
    start();
  }
};

TEST_P(ServeUdpDnsTest, a_session_ends_soon_after_its_answer) {
  Peer client(Address::loopback(GetParam()));
  const auto query = pass(client, dns_query("www.example"));
  ASSERT_TRUE(query);
  server.send(server.from, dns_answer(*query, 1));
  EXPECT_EQ(shown(client.receive()), "7.7 198.51.100.1");
  EXPECT_TRUE(eventually([this] { return log.ends().size() == 1; }));
}

TEST_P(ServeUdpDnsTest, a_session_ends_soon_after_a_datagram_that_gets_no_answer) {
  Peer client(Address::loopback(GetParam()));
  client.send(listener, dns_answer(dns_query("www.example"), 1));
  EXPECT_TRUE(eventually([this] { return log.ends().size() == 1; }));
  EXPECT_EQ(log.ends().front().second.datagrams_down, 0U);
}

INSTANTIATE_TEST_SUITE_P(, ServeUdpDnsTest, testing::Values(Family::ipv4, Family::ipv6),
                         family_name);

}  // namespace
}  // namespace shunt
