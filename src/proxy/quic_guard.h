// SPDX-License-Identifier: GPL-2.0-only
// A UDP session may carry more than the connection of QUIC that decided it, and the rules may think
// otherwise of the others, as of a later request on a connection of HTTP (proxy/request_guard.h).
// Each is decided anew when its hello is complete. Pieces of a hello may have passed before: one
// that is never complete.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "flow/facts.h"
#include "proxy/flow_name.h"
#include "proxy/policy.h"
#include "sniff/quic.h"

namespace shunt {

class QuicGuard {
 public:
  /// What a session was decided by.
  struct Decided {
    const Policy& policy;
    const Facts& facts;
    std::uint32_t rule;
  };
  /// What must not pass, and why.
  struct Objection {
    std::uint32_t rule = 0;
    NameFact name;
  };

  explicit QuicGuard(NameEvidence names) : names_(names) {}
  /// A datagram of the client's, in order. Only the first packets of connections cost anything.
  std::optional<Objection> see(std::string_view datagram, const Decided& decided);

 private:
  struct Connection {
    std::string id;
    QuicHelloReader reader;
  };
  [[nodiscard]] static std::optional<Objection> objection_to_unread(const Decided& decided);
  [[nodiscard]] std::optional<Objection> judge(const QuicHelloReader& reader,
                                               const Decided& decided) const;

  NameEvidence names_;
  std::vector<Connection> begun_;  // at most limits::kQuicBegun; their hellos are incomplete
};

}  // namespace shunt
