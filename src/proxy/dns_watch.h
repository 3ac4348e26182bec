// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string_view>
#include <vector>

#include "dns/memory.h"
#include "flow/flow.h"

namespace shunt {

/// Looks at the questions and answers of one session of DNS over UDP, and has what was answered
/// remembered. An answer that fits no question that the client asked here teaches nothing.
class DnsWatch {
 public:
  /// `memory` outlives it.
  DnsWatch(dns::Memory& memory, const Flow& flow);
  /// A datagram of the client's.
  void asked(std::string_view query);
  /// One for the client: before it gets it.
  void answered(std::string_view answer);

 private:
  struct Question {
    std::uint16_t id = 0;
    dns::Question question;
    bool operator==(const Question&) const = default;
  };
  dns::Memory& memory_;
  Address client_;
  Address resolver_;
  std::vector<Question> open_;  // at most limits::kDnsQuestionsOfSession
};

}  // namespace shunt
