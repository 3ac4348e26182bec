// SPDX-License-Identifier: GPL-2.0-only
// Sessions whose datagrams are queries that are answered here (proxy/dns_service.h): they have no
// upstream, and end soon after the last answer.
#include <utility>

#include "base/counters.h"
#include "proxy/dns_service.h"
#include "proxy/serve_udp.h"

namespace shunt {

void UdpServer::ask(UdpSession& session) {
  for (const Datagram& datagram : datagrams_) {
    ++session.datagrams_up;
    session.bytes_up += datagram.payload.size();
    session.awaiting = true;
    session.asked_at = loop_.now_tick();
    start(answer(*session.share.place, std::string(datagram.payload)));
  }
  renew(session);
}

void UdpServer::answer_queued(UdpSession& session) {
  const auto queued = take_queued(session);
  datagrams_.clear();
  for (const auto& [payload, tos, to_client] : queued) {
    datagrams_.push_back({payload, tos});
  }
  ask(session);
}

Task<> UdpServer::answer(Session session, std::string query) {
  const WayOut* carrier =
      session->policy->carrier(session->flow.rule, session->flow.original_destination);
  ++session->questions;
  const auto answer = co_await options_.dns->answer(
      {.bytes = query, .flow = session->flow, .carrier = carrier, .policy = session->policy});
  session->awaiting = --session->questions > 0;
  if (session->state != UdpSession::State::answering) co_return;
  if (answer) send_answer(*session, *answer);
  renew(*session);
}

void UdpServer::send_answer(UdpSession& session, std::string_view answer) {
  const Datagram datagram{.payload = answer, .tos = 0};
  const SendOutcome outcome = replies_.send({.source = session.flow.original_destination,
                                             .client = session.flow.source,
                                             .fragment = true},
                                            {&datagram, 1});
  session.replied = true;
  session.datagrams_down += outcome.datagrams;
  session.bytes_down += outcome.bytes;
  if (outcome.datagrams == 0) count(Counter::udp_datagrams_dropped);
}

}  // namespace shunt
