// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_exchange.h"

#include <chrono>
#include <functional>
#include <string>

#include "egress/socks5.h"
#include "unit/proxy/dns_fixture.h"

namespace shunt {
namespace {

using namespace test;

class DnsExchangeTest : public testing::Test {
 protected:
  /// One question by `way_out`, with its answer or without, within `ms`.
  Answered ask(const WayOut& way_out, const Endpoint& server, std::uint32_t ms,
               const std::function<void()>& meanwhile) {
    Flow flow;
    flow.original_destination = server;
    const std::string bytes = dns_query("www.example");
    const auto query = dns::parse(bytes);
    auto answer = loop_.start<Answered>([&] {
      return ask_once(loop_.loop(), way_out, flow, {.bytes = bytes, .query = *query}, Deadline(ms));
    });
    meanwhile();
    return answer.get();
  }

  LoopThread loop_;
};

TEST_F(DnsExchangeTest, asks_again_by_stream_where_a_datagram_was_too_short) {
  const UniqueFd listener = listen_on_loopback();
  const Endpoint endpoint = *local_endpoint(listener.get());
  const UniqueFd datagrams = *make_socket(Family::ipv4, SocketType::datagram);
  ASSERT_TRUE(bind_to(datagrams.get(), endpoint));
  const auto way_out = make_direct({});
  const Answered answer = ask(*way_out, endpoint, 10'000, [&] {
    ASSERT_TRUE(wait_for(datagrams.get(), POLLIN));
    char query[512];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const auto count = ::recvfrom(datagrams.get(), query, sizeof query, 0,
                                  reinterpret_cast<sockaddr*>(&from), &size);
    ASSERT_GT(count, 0);
    const std::string_view bytes(query, static_cast<std::size_t>(count));
    const std::string cut = dns::make_truncated(bytes, *dns::parse(bytes));
    ::sendto(datagrams.get(), cut.data(), cut.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    ASSERT_TRUE(wait_for(listener.get(), POLLIN));
    const UniqueFd stream(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(wait_for(stream.get(), POLLIN));
    const auto received = ::recv(stream.get(), query, sizeof query, 0);
    const auto again = dns::first_framed({query, static_cast<std::size_t>(received)});
    ASSERT_TRUE(again);
    send_all(stream.get(), dns::framed(dns_answer(*again, 1)));
  });
  EXPECT_EQ(shown(answer), "7.7 198.51.100.1");
}

TEST_F(DnsExchangeTest, waits_for_a_silent_proxy_no_longer_than_for_an_answer) {
  const UniqueFd proxy = listen_on_loopback();  // lets in, and says nothing
  const auto way_out =
      make_socks5("socks5://proxy", {*local_endpoint(proxy.get())}, std::nullopt, false, {});
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_FALSE(ask(*way_out, *Endpoint::parse("198.51.100.53:53"), 300, [] {}));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
}

}  // namespace
}  // namespace shunt
