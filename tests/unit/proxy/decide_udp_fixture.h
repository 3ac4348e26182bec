// SPDX-License-Identifier: GPL-2.0-only
// The UDP server under rules, with clients that speak QUIC.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "dns/memory.h"
#include "policy/ruleset.h"
#include "proxy/name_verifier.h"
#include "proxy/policy.h"
#include "unit/proxy/serve_udp_fixture.h"
#include "unit/sniff/quic_samples.h"
#include "unit/sniff/tls_samples.h"

namespace shunt::test {

/// Of a hello that takes two.
struct Datagrams {
  std::string first;
  std::string second;
};

inline Datagrams hello(std::string_view name, const std::string& connection_id = "12345678") {
  using namespace tls_samples;  // NOLINT(google-build-using-namespace)
  const std::string message = client_hello_message(extension(51, std::string(1250, 'k')) +
                                                   server_name(name) + alpn({"h3"}));
  const auto packet = [&](std::size_t number, std::size_t offset, std::string_view part) {
    return quic_samples::initial({.payload = quic_samples::crypto(offset, part),
                                  .connection_id = connection_id,
                                  .number = number});
  };
  return {.first = packet(0, 0, std::string_view(message).substr(0, 1000)),
          .second = packet(1, 1000, std::string_view(message).substr(1000))};
}

/// good.example has the address of the test's sessions; the lookup of a slow one takes too long.
inline std::vector<Address> made_up_names(const std::string& name) {
  if (name == "slow.example") std::this_thread::sleep_for(std::chrono::seconds(1));
  if (name != "good.example" && name != "slow.example") return {};
  return {*Address::parse("198.51.100.1"), *Address::parse("2001:db8::1")};
}

class DecideUdpTest : public ServeUdpTest {
 protected:
  void decide_by(const std::vector<std::string>& texts, const std::string& fallback = "direct") {
    PolicySource source;
    source.fallback.text = fallback;
    for (const std::string& text : texts) source.rules.push_back({.text = text, .place = {}});
    policy.replace(Policy::create(Ruleset::compile(std::move(source)).value(), {way_out}));
    options.names = {.lookups = &names, .memory = &memory};
    options.sniff_wait_ms = 10'000;
  }

  void send(Peer& client, const Datagrams& datagrams) {
    client.send(listener, datagrams.first);
    client.send(listener, datagrams.second);
  }

  std::pair<Flow, FlowEnd> only_end() {
    EXPECT_TRUE(eventually([&] { return !log.ends().empty(); }));
    return log.ends().at(0);
  }

  NameVerifier names{made_up_names};
  dns::Memory memory{{*Address::parse("198.51.100.1"), *Address::parse("2001:db8::1")}};
};

}  // namespace shunt::test
