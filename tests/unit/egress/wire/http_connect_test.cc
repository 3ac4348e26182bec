// SPDX-License-Identifier: GPL-2.0-only
#include "egress/wire/http_connect.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace shunt::http_connect {
namespace {

using Status = Decoded<Response>::Status;

TEST(HttpConnectWire, request_names_the_destination_twice) {
  EXPECT_EQ(request(*Endpoint::parse("192.0.2.7:443"), ""),
            "CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7:443\r\n\r\n");
  EXPECT_EQ(request(*Endpoint::parse("[2001:db8::1]:80"), "Basic eA=="),
            "CONNECT [2001:db8::1]:80 HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n"
            "Proxy-Authorization: Basic eA==\r\n\r\n");
}

TEST(HttpConnectWire, an_interface_is_not_for_the_proxy_to_see) {
  const Endpoint local{.address = *Address::parse("fe80::1"), .port = 80, .scope_id = 1};
  EXPECT_EQ(request(local, ""), "CONNECT [fe80::1]:80 HTTP/1.1\r\nHost: [fe80::1]:80\r\n\r\n");
}

// The examples of RFC 4648 section 10 and RFC 7617 section 2, with the colon in its place.
TEST(HttpConnectWire, basic_credentials_are_base64) {
  EXPECT_EQ(basic_authorization("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  EXPECT_EQ(basic_authorization("test", "123\xC2\xA3"), "Basic dGVzdDoxMjPCow==");
  EXPECT_EQ(basic_authorization("", ""), "Basic Og==");
  EXPECT_EQ(basic_authorization("a", ""), "Basic YTo=");
  EXPECT_EQ(basic_authorization("a", "b"), "Basic YTpi");
}

TEST(HttpConnectWire, every_split_of_a_response_gives_the_same_answer) {
  const std::string heads[] = {
      "HTTP/1.1 200 Connection established\r\n\r\n",
      "HTTP/1.0 200\r\nProxy-agent: x\r\n\r\n",
      "HTTP/1.1 200 OK\nContent-Length: 5\n\n",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
  };
  for (const auto& head : heads) {
    for (std::size_t size = 0; size < head.size(); ++size) {
      EXPECT_EQ(decode_response(head.substr(0, size)).status, Status::need_more) << head << size;
    }
    const std::string received = head + "early";
    const auto response = decode_response(received);
    ASSERT_TRUE(response.complete()) << head;
    EXPECT_EQ(response.size, head.size());
    EXPECT_EQ(response.value.status, 200);
  }
}

TEST(HttpConnectWire, keeps_what_says_why) {
  const std::string head =
      "HTTP/1.1 503 Service Unavailable\r\nServer: squid\r\nx-squid-error:  ERR_CONNECT_FAIL 111 "
      "\r\nProxy-Status: p; error=connection_refused\r\n\r\n";
  const auto response = decode_response(head);
  ASSERT_TRUE(response.complete());
  EXPECT_EQ(response.value.status_line, "HTTP/1.1 503 Service Unavailable");
  EXPECT_EQ(response.value.squid_error, "ERR_CONNECT_FAIL 111");
  EXPECT_EQ(response.value.proxy_status, "p; error=connection_refused");
}

TEST(HttpConnectWire, knows_another_protocol_by_its_first_byte) {
  for (const char* text : {"S", "\x05", "HTTP/2", "HTTP/1.1 20 OK\r\n", "HTTP/1.1 2000 OK\r\n",
                           "HTTP/1.1 099 x\r\n", "HTTP/1.1  200 OK\r\n", "HTTP/1.1\r\n"}) {
    EXPECT_TRUE(decode_response(text).malformed()) << text;
  }
}

TEST(HttpConnectWire, a_head_without_end_is_malformed_at_the_limit) {
  std::string head = "HTTP/1.1 200 OK\r\n";
  while (head.size() < limits::kHttpHeadBytes - 100) head += "X: 0123456789\r\n";
  EXPECT_EQ(decode_response(head).status, Status::need_more);
  while (head.size() < limits::kHttpHeadBytes) head += "X: 0123456789\r\n";
  EXPECT_TRUE(decode_response(head).malformed());
  EXPECT_TRUE(decode_response(head + "\r\n").malformed());
}

TEST(HttpConnectWire, interim_responses_without_end_are_malformed_at_the_limit) {
  std::string heads;
  while (heads.size() < limits::kHttpHeadBytes) heads += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_TRUE(decode_response(heads).malformed());
}

}  // namespace
}  // namespace shunt::http_connect
