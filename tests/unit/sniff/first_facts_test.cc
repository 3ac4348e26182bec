// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/first_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/limits.h"
#include "unit/sniff/quic_samples.h"
#include "unit/sniff/tls_samples.h"

namespace shunt {
namespace {

Facts flow_to(std::string_view destination) {
  return {.client = *Endpoint::parse("192.0.2.1:40000"),
          .destination = *Endpoint::parse(destination)};
}

Facts learnt(std::string_view bytes, std::string_view destination = "198.51.100.1:80") {
  Facts facts = flow_to(destination);
  learn_first_bytes(bytes, facts);
  return facts;
}

std::string dns_query() {
  using namespace std::string_literals;
  return "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01"s + "a\x00\x00\x01\x00\x01"s;
}

TEST(FirstFacts, http_request_gives_name_method_and_path) {
  const Facts facts = learnt("POST /api/x?y=1 HTTP/1.1\r\nHost: A.Example:80\r\n\r\n");
  EXPECT_EQ(facts.app.app, AppProtocol::http);
  EXPECT_EQ(facts.name.state, FactState::known);
  EXPECT_EQ(facts.name.name, "a.example");
  EXPECT_EQ(facts.name.source, NameSource::http_host);
  EXPECT_FALSE(facts.name.verified);
  EXPECT_EQ(facts.http.method, "POST");
  EXPECT_EQ(facts.http.path, "/api/x");
}

TEST(FirstFacts, first_line_alone_settles_all_but_the_name) {
  const Facts facts = learnt("GET / HTTP/1.1\r\nHo");
  EXPECT_EQ(facts.app.state, FactState::known);
  EXPECT_EQ(facts.http.state, FactState::known);
  EXPECT_EQ(facts.name.state, FactState::unknown);
}

TEST(FirstFacts, every_beginning_of_a_request_agrees_with_the_whole) {
  const std::string request = "\r\nGET http://b.example/p?q HTTP/1.1\r\nHost: b.example\r\n\r\n";
  for (std::size_t size = 1; size <= request.size(); ++size) {
    const Facts facts = learnt(std::string_view(request).substr(0, size));
    if (facts.app.state == FactState::known) EXPECT_EQ(facts.app.app, AppProtocol::http) << size;
    if (facts.http.state == FactState::known) EXPECT_EQ(facts.http.path, "/p") << size;
    if (facts.name.state == FactState::known) EXPECT_EQ(facts.name.name, "b.example") << size;
    EXPECT_NE(facts.app.state, FactState::never) << size;
  }
  EXPECT_EQ(learnt(request).name.state, FactState::known);
}

TEST(FirstFacts, path_of_other_targets) {
  const auto path = [](const std::string& target) {
    return learnt("OPTIONS " + target + " HTTP/1.1\r\n").http.path;
  };
  EXPECT_EQ(path("*"), "*");
  EXPECT_EQ(path("http://a.example"), "/");
  EXPECT_EQ(path("http://a.example?x"), "/");
  EXPECT_EQ(path("/a://b"), "/a://b");
}

TEST(FirstFacts, ssh_is_told_by_its_banner) {
  EXPECT_EQ(learnt("SS").app.state, FactState::unknown);
  const Facts facts = learnt("SSH-2.0-OpenSSH_9.2\r\n");
  EXPECT_EQ(facts.app.app, AppProtocol::ssh);
  EXPECT_EQ(facts.http.state, FactState::never);
  EXPECT_EQ(facts.name.state, FactState::never);
}

TEST(FirstFacts, what_is_nothing_known_is_other_and_has_no_name) {
  const Facts facts = learnt(std::string_view("\x00\x01\x02", 3));
  EXPECT_EQ(facts.app.app, AppProtocol::other);
  EXPECT_EQ(facts.name.state, FactState::never);
  EXPECT_EQ(facts.http.state, FactState::never);
}

AppProtocol app_of_datagram(const std::string& payload) {
  Facts facts = flow_to("198.51.100.1:5353");
  learn_first_datagram(payload, facts);
  return facts.app.app;
}

TEST(FirstFacts, dns_is_told_on_any_port_by_the_whole_of_a_query) {
  const std::string framed = std::string("\x00\x13", 2) + dns_query();
  EXPECT_EQ(learnt(framed, "198.51.100.1:5353").app.app, AppProtocol::dns);
  EXPECT_EQ(app_of_datagram(dns_query()), AppProtocol::dns);
  EXPECT_EQ(learnt(framed.substr(0, 20), "198.51.100.1:5353").app.app, AppProtocol::other);
  for (std::size_t size = 0; size < dns_query().size(); ++size) {
    EXPECT_EQ(app_of_datagram(dns_query().substr(0, size)), AppProtocol::other) << size;
  }
  EXPECT_EQ(app_of_datagram(dns_query() + "more"), AppProtocol::other);
  std::string answer = dns_query();
  answer[2] = static_cast<char>(0x81);
  EXPECT_EQ(app_of_datagram(answer), AppProtocol::other);
  std::string pointer = dns_query();
  pointer[12] = static_cast<char>(0xc0);
  EXPECT_EQ(app_of_datagram(pointer), AppProtocol::other);
  std::string odd_class = dns_query();
  odd_class.back() = 'x';
  EXPECT_EQ(app_of_datagram(odd_class), AppProtocol::other);
}

TEST(FirstFacts, dns_is_told_on_its_port_by_the_header_of_a_query) {
  const std::string framed = std::string("\x00\x13", 2) + dns_query();
  EXPECT_EQ(learnt(framed.substr(0, 16), "198.51.100.1:53").app.app, AppProtocol::dns);
  Facts facts = flow_to("198.51.100.1:53");
  learn_first_datagram(dns_query(), facts);
  EXPECT_EQ(facts.app.app, AppProtocol::dns);
  EXPECT_EQ(facts.name.state, FactState::never);
}

TEST(FirstFacts, quic_is_told_by_an_initial_of_full_size) {
  std::string initial(1200, 'x');
  initial.replace(0, 5, std::string("\xc3\x00\x00\x00\x01", 5));
  Facts facts = flow_to("198.51.100.1:443");
  learn_first_datagram(initial, facts);
  EXPECT_EQ(facts.app.app, AppProtocol::quic);
  EXPECT_EQ(facts.http.state, FactState::never);
  EXPECT_EQ(facts.name.state, FactState::unknown);
  facts = flow_to("198.51.100.1:443");
  learn_first_datagram(initial.substr(0, 1199), facts);
  EXPECT_EQ(facts.app.app, AppProtocol::other);
  EXPECT_EQ(facts.name.state, FactState::never);
}

TEST(FirstFacts, quic_hello_gives_its_name_and_the_sign_of_ech) {
  using namespace tls_samples;  // NOLINT(google-build-using-namespace)
  const std::string message =
      client_hello_message(server_name("WWW.Example.com.") + extension(0xfe0d, "e"));
  const std::string first = quic_samples::crypto(0, message.substr(0, 60));
  const std::string rest = quic_samples::crypto(60, message.substr(60));
  Facts facts = flow_to("198.51.100.1:443");
  QuicHelloReader reader;
  reader.feed(quic_samples::initial({.payload = rest, .number = 1}));
  learn_quic_hello(reader, facts);
  EXPECT_EQ(facts.name.state, FactState::unknown);
  reader.feed(quic_samples::initial({.payload = first}));
  learn_quic_hello(reader, facts);
  EXPECT_EQ(facts.name.state, FactState::known);
  EXPECT_EQ(facts.name.name, "www.example.com");
  EXPECT_EQ(facts.name.source, NameSource::quic_sni);
  EXPECT_TRUE(facts.name.ech);
}

TEST(FirstFacts, quic_without_a_usable_name_never_has_one) {
  using namespace tls_samples;  // NOLINT(google-build-using-namespace)
  for (const std::string& message :
       {client_hello_message(alpn({"h3"})), client_hello_message(server_name("192.0.2.1")),
        std::string("\x02\0\0\0", 4)}) {
    Facts facts = flow_to("198.51.100.1:443");
    QuicHelloReader reader;
    reader.feed(quic_samples::initial({.payload = quic_samples::crypto(0, message)}));
    learn_quic_hello(reader, facts);
    EXPECT_EQ(facts.name.state, FactState::never);
  }
}

TEST(FirstFacts, tls_name_beside_ech_is_marked) {
  using namespace tls_samples;  // NOLINT(google-build-using-namespace)
  const auto hello = [](const std::string& more) {
    return records(client_hello_message(server_name("a.example") + more));
  };
  EXPECT_FALSE(learnt(hello("")).name.ech);
  EXPECT_TRUE(learnt(hello(extension(0xfe0d, "e"))).name.ech);
}

TEST(FirstFacts, what_a_lenient_server_may_take_for_a_request_is_said_to_be_unread) {
  const std::string host = "Host: a.example\r\n\r\n";
  for (const std::string& request :
       {"GET  / HTTP/1.1\r\n" + host, "GET / HTTP/1.1 \r\n" + host, "GET\t/ HTTP/1.1\r\n" + host,
        " GET / HTTP/1.1\r\n" + host, "\r\nGET /a b HTTP/1.1\n" + host,
        "GET / HTTP/01.1\r\n" + host, "GET / HTTP/1.1\r\nno colon\r\n" + host,
        "GET / HTTP/1.1\r\nX(Y): x\r\n" + host, std::string(33, 'A') + " / HTTP/1.1\r\n" + host,
        "GET / HTTP/1.1\r\nX: " + std::string(limits::kHttpHeadBytes, 'x') + "\r\n" + host,
        "GET /" + std::string(limits::kHttpHeadBytes, 'x'),
        "GET / HTTP/1.1\r\nHost: b.example\r\nHost: c.example\r\n" + host,
        std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")}) {
    const Facts facts = learnt(request);
    EXPECT_EQ(facts.app.unread, AppProtocol::http) << request.substr(0, 60);
    EXPECT_EQ(facts.name.state, FactState::never) << request.substr(0, 60);
    EXPECT_NE(facts.app.state, FactState::unknown) << request.substr(0, 60);
  }
}

TEST(FirstFacts, beginning_that_may_yet_be_like_a_request_is_waited_for) {
  const std::string request = std::string(40, 'A') + " / HTTP/1.1\r\n";
  for (std::size_t size = 1; size < request.size(); ++size) {
    const Facts facts = learnt(request.substr(0, size));
    EXPECT_EQ(facts.app.state, FactState::unknown) << size;
    EXPECT_EQ(facts.name.state, FactState::unknown) << size;
  }
}

TEST(FirstFacts, other_protocols_are_read_as_what_they_are) {
  using namespace std::string_literals;
  for (const std::string& text : {"EHLO mail.example\r\n"s,
                                  "HELO x\r\nMAIL FROM:<a@b.example>\r\n"s,
                                  "PING\r\n"s,
                                  "*1\r\n$4\r\nPING\r\n"s,
                                  "SET key value\r\n"s,
                                  "NICK me\r\nUSER me 0 * :Me HTTP/1.1\r\n"s,
                                  "USER me\r\n"s,
                                  "a001 LOGIN me secret\r\n"s,
                                  "get key\r\n"s,
                                  "stats\r\n"s,
                                  "CONNECT\naccept-version:1.2\n\n\0"s,
                                  "CONNECT {\"verbose\":false}\r\n"s,
                                  "OPTIONS rtsp://a.example/ RTSP/1.0\r\n"s,
                                  "INVITE sip:me@a.example SIP/2.0\r\n"s,
                                  "REQMOD icap://a.example/ ICAP/1.0\r\n"s,
                                  "GET /\r\n"s,
                                  "\x10\x0e\0\x04MQTT"s,
                                  "\x03\0\0\x13\x0e\xe0"s,
                                  "\x80\x2e\x01\x03"s,
                                  "\x16\x02\x01"s,
                                  "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"s,
                                  "\x13"
                                  "BitTorrent protocol"s,
                                  "\xff\xfd\x18"s,
                                  "\0\0\0\x08\x04\xd2\x16\x2f"s}) {
    const Facts facts = learnt(text);
    EXPECT_FALSE(facts.app.unread) << text;
    EXPECT_EQ(facts.app.state, FactState::known) << text;
    EXPECT_EQ(facts.name.state, FactState::never) << text;
  }
}

TEST(FirstFacts, hello_that_cannot_be_read_is_said_so) {
  using namespace tls_samples;  // NOLINT(google-build-using-namespace)
  const std::string message = client_hello_message(server_name("a.example"));
  const std::string large = extension(21, std::string(limits::kTlsHelloBytes, 'p'));
  const std::string empty_record("\x16\x03\x01\0\0", 5);
  for (const std::string& bytes :
       {records(client_hello_message(large + server_name("a.example"))),
        empty_record + records(message), records(message.substr(0, 50) + message),
        records(handshake(1, std::string(limits::kTlsHelloBytes - 4, 'x')), 1)}) {
    const Facts facts = learnt(bytes);
    EXPECT_EQ(facts.app.unread, AppProtocol::tls) << bytes.size();
    EXPECT_EQ(facts.name.state, FactState::never) << bytes.size();
  }
  EXPECT_FALSE(learnt(records(message)).app.unread);
  EXPECT_FALSE(learnt(records(client_hello_message(""))).app.unread);
}

TEST(FirstFacts, request_that_names_two_hosts_has_them_as_rivals) {
  using ::testing::ElementsAre;
  const auto rivals = [](const std::string& line, const std::string& fields) {
    const Facts facts = learnt(line + " HTTP/1.1\r\n" + fields + "\r\n");
    EXPECT_EQ(facts.name.state, FactState::never);
    EXPECT_FALSE(facts.app.unread);
    return facts.rival_names;
  };
  for (const std::string scheme : {"http", "HTTP", "https", "ftp"}) {
    EXPECT_THAT(rivals("GET " + scheme + "://A.example/", "Host: b.example:80\r\n"),
                ElementsAre("a.example", "b.example"));
  }
  EXPECT_THAT(rivals("GET /", "Host: a.example\r\nHost: b.example\r\n"),
              ElementsAre("a.example", "b.example"));
  EXPECT_THAT(rivals("GET /", "Host:\r\nHost: b.example\r\n"), ElementsAre("b.example"));
  EXPECT_TRUE(
      learnt("GET http://a.example/ HTTP/1.1\r\nHost: A.example\r\n\r\n").rival_names.empty());
}

TEST(FirstFacts, what_was_not_seen_never_comes) {
  Facts facts = learnt("GET / HTTP/1.1\r\nHo");
  settle_first_bytes(facts);
  EXPECT_EQ(facts.name.state, FactState::never);
  EXPECT_EQ(facts.http.state, FactState::known);
}

}  // namespace
}  // namespace shunt
