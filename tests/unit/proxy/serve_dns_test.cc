// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/serve_dns.h"

#include <string>
#include <utility>

#include "capture/capture.h"
#include "unit/proxy/dns_fixture.h"

namespace shunt {
namespace {

using namespace test;

class ServeDnsTest : public DnsTest {
 protected:
  ServeDnsTest() {
    start(Transport::udp, server_.endpoint());
    captured_.flow.source = {*Address::parse("192.0.2.10"), 40'000};
    captured_.flow.original_destination = {*Address::parse("203.0.113.53"), dns::kPort};
    captured_.client = accepted_client(std::move(pair_.far));
    decided_.policy = policy_.get();
    end_ = loop_.start<FlowEnd>(
        [this] { return serve_dns(loop_.loop(), *service_, captured_, decided_); });
  }

  std::string answer() {
    for (;;) {
      if (const auto message = dns::first_framed(received_)) {
        std::string bytes(*message);
        received_.erase(0, 2 + bytes.size());
        return bytes;
      }
      char buffer[4096];
      if (!wait_for(pair_.near.get(), POLLIN)) return "";
      const auto count = ::recv(pair_.near.get(), buffer, sizeof buffer, 0);
      if (count <= 0) return "";
      received_.append(buffer, static_cast<std::size_t>(count));
    }
  }
  void reply(int last) {
    const auto query = server_.receive();
    ASSERT_TRUE(query);
    server_.send(server_.from, dns_answer(*query, last));
  }

  Peer server_{Address::loopback(Family::ipv4)};
  TcpPair pair_ = tcp_pair();
  Captured captured_;
  DecidedFlow decided_;
  std::future<FlowEnd> end_;
  std::string received_;
};

TEST_F(ServeDnsTest, answers_come_in_the_order_of_the_queries_until_the_client_ends) {
  const std::string no_query = std::string(1, '\0') + "\x02hi";
  std::string all =
      dns::framed(dns_query("one.example")) + no_query + dns::framed(dns_query("two.example"));
  send_all(pair_.near.get(), all.substr(0, 5));
  send_all(pair_.near.get(), all.substr(5));
  reply(1);
  EXPECT_EQ(shown(answer()), "7.7 198.51.100.1");
  reply(2);
  EXPECT_EQ(shown(answer()), "7.7 198.51.100.2");
  ::shutdown(pair_.near.get(), SHUT_WR);
  const FlowEnd end = end_.get();
  EXPECT_EQ(end.reason, EndReason::closed);
  EXPECT_EQ(end.bytes_up, all.size());
  EXPECT_GT(end.bytes_down, 0U);
}

TEST_F(ServeDnsTest, a_silent_server_is_a_failure_in_time) {
  const auto begun = std::chrono::steady_clock::now();
  send_all(pair_.near.get(), dns::framed(dns_query("www.example")));
  EXPECT_EQ(shown(answer()), "7.7 rcode 2");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(6));
  ::shutdown(pair_.near.get(), SHUT_WR);
  end_.get();
}

}  // namespace
}  // namespace shunt
