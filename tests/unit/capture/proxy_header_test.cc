// SPDX-License-Identifier: GPL-2.0-only
// A PROXY header is taken from a connection to the byte, however it arrives, and nothing that a
// peer does instead makes shunt wait longer than it said.
#include "capture/proxy_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <utility>

#include "base/counters.h"
#include "unit/support/loop_thread.h"
#include "unit/support/tcp_pair.h"

namespace shunt {
namespace {

using proxy_protocol::Header;
using test::TcpPair;
using testing::HasSubstr;
using Taken = std::expected<std::string, ConnectFailure>;

constexpr std::uint32_t kPatientMs = 10'000;

Header between(const char* source, const char* destination) {
  return {.source = *Endpoint::parse(source), .destination = *Endpoint::parse(destination)};
}

class TakeProxyHeader : public ::testing::Test {
 protected:
  std::future<Taken> take(std::uint32_t wait_ms = kPatientMs) {
    return loop_.start<Taken>(
        [this, wait_ms] { return take_proxy_header(loop_.loop(), pair_.far.get(), wait_ms); });
  }
  void expect_refused(std::future<Taken> taking, const std::string& why) {
    const Taken taken = taking.get();
    ASSERT_FALSE(taken) << *taken;
    EXPECT_EQ(taken.error().reason, ConnectReason::bad_proxy_header);
    EXPECT_THAT(taken.error().detail, HasSubstr(why));
  }

  TcpPair pair_ = test::tcp_pair();
  test::LoopThread loop_;
};

TEST_F(TakeProxyHeader, takes_not_a_byte_behind_it) {
  const Header header = between("192.0.2.1:40000", "198.51.100.2:443");
  for (const std::string& bytes : {encode_v1(header), encode_v2(header)}) {
    test::send_all(pair_.near.get(), bytes + "GET / HTTP/1.1\r\n");
    const Taken taken = take().get();
    ASSERT_TRUE(taken);
    EXPECT_EQ(*taken, bytes);
    EXPECT_EQ(test::receive(pair_.far.get(), 16), "GET / HTTP/1.1\r\n");
  }
}

TEST_F(TakeProxyHeader, waits_for_a_header_that_comes_byte_by_byte) {
  const std::string bytes = encode_v2(between("192.0.2.1:40000", "[2001:db8::2]:443"));
  auto taking = take();
  for (const char byte : bytes) test::send_all(pair_.near.get(), {&byte, 1});
  test::send_all(pair_.near.get(), "x");
  EXPECT_EQ(taking.get(), bytes);
  EXPECT_EQ(test::receive(pair_.far.get(), 1), "x");
}

TEST_F(TakeProxyHeader, is_content_with_a_header_that_a_fin_follows) {
  const std::string bytes = encode_v1(between("192.0.2.1:40000", "198.51.100.2:443"));
  test::send_all(pair_.near.get(), bytes);
  ::shutdown(pair_.near.get(), SHUT_WR);
  EXPECT_EQ(take().get(), bytes);
}

TEST_F(TakeProxyHeader, gives_up_on_silence_and_on_dripping_at_the_same_deadline) {
  auto taking = take(300);
  test::send_all(pair_.near.get(), "PROXY ");
  expect_refused(std::move(taking), "no whole PROXY header in 300 ms");
}

TEST_F(TakeProxyHeader, refuses_a_peer_that_closes_midway) {
  auto taking = take();
  test::send_all(pair_.near.get(), "PROXY TCP4 192.0.2.1");
  ::shutdown(pair_.near.get(), SHUT_WR);
  expect_refused(std::move(taking), "closed before");
}

TEST_F(TakeProxyHeader, refuses_a_peer_that_closes_at_once) {
  ::shutdown(pair_.near.get(), SHUT_WR);
  expect_refused(take(), "closed before");
}

TEST_F(TakeProxyHeader, refuses_a_peer_that_resets) {
  auto taking = take();
  reset_on_close(pair_.near.get());
  pair_.near.reset();
  const Taken taken = taking.get();
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().reason, ConnectReason::bad_proxy_header);
}

TEST_F(TakeProxyHeader, says_what_is_wrong_before_more_comes) {
  std::string oversize = encode_v2(between("192.0.2.1:1", "192.0.2.2:2")).substr(0, 16);
  oversize[14] = '\x7f';
  std::string other_version = oversize.substr(0, 13);
  other_version[12] = '\x31';
  const std::pair<std::string, const char*> cases[] = {
      {"GET / HTTP/1.1\r\n", "no PROXY header"},
      {"\x16\x03\x01", "no PROXY header"},
      {"PROXY TCP4 " + std::string(107, '1'), "more than 107 bytes"},
      {"PROXY TCP9 1 2 3 4\r\n", "none of version 1"},
      {oversize, "more than 4,096 bytes"},
      {other_version, "version"},
  };
  for (const auto& [bytes, why] : cases) {
    pair_ = test::tcp_pair();
    test::send_all(pair_.near.get(), bytes);
    expect_refused(take(), why);
  }
}

TEST_F(TakeProxyHeader, refuses_a_wrong_checksum) {
  std::string bytes = encode_v2(between("192.0.2.1:40000", "198.51.100.2:443"));
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  test::send_all(pair_.near.get(), bytes);
  expect_refused(take(), "wrong checksum");
}

TEST(SplitProxyHeader, leaves_the_payload) {
  Header header = between("192.0.2.1:40000", "198.51.100.2:53");
  header.protocol = Protocol::udp;
  const std::string bytes = encode_v2(header) + "payload";
  std::string_view datagram = bytes;
  const auto split = split_proxy_header(datagram);
  ASSERT_TRUE(split);
  EXPECT_EQ(split->source, header.source);
  EXPECT_EQ(datagram, "payload");
}

TEST(SplitProxyHeader, takes_no_half_a_header_and_no_version_1) {
  const Header header = between("192.0.2.1:40000", "198.51.100.2:53");
  const std::string whole = encode_v2(header);
  for (std::string_view datagram : {std::string_view(whole).substr(0, whole.size() - 1),
                                    std::string_view("PROXY UNKNOWN\r\n"), std::string_view()}) {
    EXPECT_FALSE(split_proxy_header(datagram));
  }
}

class ApplyProxyHeader : public ::testing::Test {
 protected:
  PlainListener listener_{.name = "web", .addresses = {}};
  Flow flow_{.protocol = Protocol::tcp,
             .source = *Endpoint::parse("10.0.0.1:5"),
             .original_destination = {},
             .started = {}};
};

TEST_F(ApplyProxyHeader, source_and_destination_are_the_headers) {
  Header header = between("192.0.2.1:40000", "198.51.100.2:443");
  header.authority = "www.shunt.example";
  header.unique_id = "id";
  ASSERT_TRUE(apply_proxy_header(listener_, header, flow_));
  EXPECT_EQ(flow_.source, header.source);
  EXPECT_EQ(flow_.original_destination, header.destination);
  ASSERT_NE(flow_.announced, nullptr);
  EXPECT_EQ(flow_.announced->sender, Endpoint::parse("10.0.0.1:5"));
  EXPECT_EQ(flow_.announced->authority, "www.shunt.example");
  EXPECT_EQ(flow_.announced->unique_id, "id");
}

TEST_F(ApplyProxyHeader, the_listeners_own_destination_counts_more) {
  listener_.to = Endpoint::parse("198.51.100.9:80");
  flow_.original_destination = *listener_.to;
  ASSERT_TRUE(apply_proxy_header(listener_, between("192.0.2.1:1", "127.0.0.1:22"), flow_));
  EXPECT_EQ(flow_.original_destination, *listener_.to);
  EXPECT_EQ(flow_.source, Endpoint::parse("192.0.2.1:1"));
}

TEST_F(ApplyProxyHeader, no_header_leads_to_this_machine) {
  for (const char* destination : {"127.0.0.1:22", "127.9.8.7:22", "0.0.0.0:22", "[::1]:22",
                                  "[::]:22", "[::ffff:127.0.0.1]:22"}) {
    Flow flow = flow_;
    const auto applied = apply_proxy_header(listener_, between("192.0.2.1:1", destination), flow);
    ASSERT_FALSE(applied) << destination;
    EXPECT_EQ(applied.error().reason, ConnectReason::no_destination);
  }
}

TEST_F(ApplyProxyHeader, a_source_that_can_be_nobodys_is_no_client) {
  listener_.to = Endpoint::parse("198.51.100.9:80");
  for (const char* source : {"0.0.0.0:40000", "[::]:40000", "[::ffff:0.0.0.0]:40000",
                             "224.0.0.1:40000", "[ff02::1]:40000", "192.0.2.1:0"}) {
    Flow flow = flow_;
    const auto applied = apply_proxy_header(listener_, between(source, "198.51.100.2:80"), flow);
    ASSERT_FALSE(applied) << source;
    EXPECT_EQ(applied.error().reason, ConnectReason::bad_proxy_header);
    EXPECT_EQ(flow.announced, nullptr);
  }
}

TEST_F(ApplyProxyHeader, a_header_without_addresses_changes_nothing) {
  Header local;
  local.local = true;
  EXPECT_FALSE(apply_proxy_header(listener_, local, flow_));
  listener_.to = Endpoint::parse("198.51.100.9:80");
  ASSERT_TRUE(apply_proxy_header(listener_, local, flow_));
  EXPECT_EQ(flow_.source, Endpoint::parse("10.0.0.1:5"));
  EXPECT_EQ(flow_.announced, nullptr);
}

// As haproxy and nginx take it: the addresses of another transport are not this connection's.
TEST_F(ApplyProxyHeader, addresses_of_another_transport_do_not_count) {
  listener_.to = Endpoint::parse("198.51.100.9:80");
  Header header = between("192.0.2.1:1", "192.0.2.2:2");
  header.protocol = Protocol::udp;
  ASSERT_TRUE(apply_proxy_header(listener_, header, flow_));
  EXPECT_EQ(flow_.source, Endpoint::parse("10.0.0.1:5"));
}

TEST(NoteBadHeader, counts) {
  const auto before = counted(Counter::proxy_headers_refused);
  note_bad_header({.name = "web", .addresses = {}}, *Endpoint::parse("10.0.0.1:5"), "why");
  EXPECT_EQ(counted(Counter::proxy_headers_refused), before + 1);
}

}  // namespace
}  // namespace shunt
