// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_watch.h"

#include <algorithm>

#include "base/limits.h"

namespace shunt {

DnsWatch::DnsWatch(dns::Memory& memory, const Flow& flow)
    : memory_(memory), client_(flow.source.address), resolver_(flow.original_destination.address) {}

void DnsWatch::asked(std::string_view query) {
  const auto message = dns::parse(query);
  const bool asks = message && !message->response && message->opcode == 0;
  const bool address = asks && (message->question.type == dns::type::kA ||
                                message->question.type == dns::type::kAaaa);
  if (!address || message->question.dns_class != dns::kInternet) return;
  if (open_.size() >= limits::kDnsQuestionsOfSession) open_.erase(open_.begin());
  open_.push_back({.id = message->id, .question = message->question});
}

void DnsWatch::answered(std::string_view answer) {
  if (open_.empty()) return;
  const auto message = dns::parse(answer);
  if (!message || !message->response) return;
  const auto question =
      std::ranges::find(open_, Question{.id = message->id, .question = message->question});
  if (question == open_.end()) return;
  open_.erase(question);
  memory_.learn(client_, resolver_, *message);
}

}  // namespace shunt
