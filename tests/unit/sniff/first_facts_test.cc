// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/first_facts.h"

#include <gtest/gtest.h>

#include <string>

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

TEST(FirstFacts, dns_is_told_on_its_port_alone) {
  const std::string framed = std::string("\x00\x13", 2) + dns_query();
  EXPECT_EQ(learnt(framed, "198.51.100.1:53").app.app, AppProtocol::dns);
  EXPECT_EQ(learnt(framed, "198.51.100.1:5353").app.app, AppProtocol::other);
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

TEST(FirstFacts, what_was_not_seen_never_comes) {
  Facts facts = learnt("GET / HTTP/1.1\r\nHo");
  settle_first_bytes(facts);
  EXPECT_EQ(facts.name.state, FactState::never);
  EXPECT_EQ(facts.http.state, FactState::known);
}

}  // namespace
}  // namespace shunt
