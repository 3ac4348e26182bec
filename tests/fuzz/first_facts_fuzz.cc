// SPDX-License-Identifier: GPL-2.0-only
// A client's first bytes, of which more and more are there: what was once learnt stays as it is,
// and everything is of the form that rules compare.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "rule/values.h"
#include "sniff/first_facts.h"

namespace {

using namespace shunt;

void check(bool holds) {
  if (!holds) std::abort();
}

Facts flow_to_port_53() {
  return {.client = *Endpoint::parse("192.0.2.1:40000"),
          .destination = *Endpoint::parse("198.51.100.1:53")};
}

void check_forms(const Facts& facts) {
  if (facts.name.state == FactState::known) check(host_name(facts.name.name) == facts.name.name);
  if (facts.http.state == FactState::known) {
    check(facts.app.app == AppProtocol::http && !facts.http.method.empty());
    check(facts.http.path.find('?') == std::string::npos);
  }
}

void check_unchanged(const Facts& before, const Facts& after) {
  if (before.app.state == FactState::known) check(before.app.app == after.app.app);
  if (before.name.state != FactState::unknown) check(before.name.name == after.name.name);
  if (before.http.state != FactState::unknown) check(before.http.path == after.http.path);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Facts growing = flow_to_port_53();
  for (const std::size_t seen : {size / 4, size / 2, size}) {
    const Facts before = growing;
    learn_first_bytes(bytes.substr(0, seen), growing);
    check_forms(growing);
    check_unchanged(before, growing);
  }
  settle_first_bytes(growing);
  check(growing.name.state != FactState::unknown && growing.http.state != FactState::unknown);
  Facts datagram = flow_to_port_53();
  learn_first_datagram(bytes, datagram);
  const bool quic = datagram.app.app == AppProtocol::quic;
  check(datagram.app.state == FactState::known);
  check(datagram.name.state == (quic ? FactState::unknown : FactState::never));
  return 0;
}
