// SPDX-License-Identifier: GPL-2.0-only
// What is seen of QUIC: the hello that a session begins with, later connections in it, and
// connections that go on in another session than they began in (proxy/quic_connections.h).
#include <utility>

#include "proxy/decide_flow.h"
#include "proxy/serve_udp.h"
#include "sniff/first_facts.h"
#include "sniff/quic.h"
#include "sniff/tls.h"

namespace shunt {

void UdpServer::begin_quic(UdpSession& session, std::string_view first) const {
  const bool named = session.policy->rules().uses(TermKey::host);
  if (options_.observe_content || named) session.hello = std::make_unique<QuicHelloReader>();
  const auto header = quic_long_header(first);
  if (options_.quic == nullptr || !header || header->kind != QuicPacketKind::initial) return;
  session.beginning = std::make_unique<QuicBeginning>(
      QuicBeginning{.client_id = std::string(header->source_id), .alpn_offered = {}});
}

/// Where its client has another address or port than it began with.
void UdpServer::take_up_quic(UdpSession& session, std::string_view first) const {
  if (options_.quic == nullptr) return;
  auto connection = options_.quic->find(session.flow.original_destination, first);
  if (!connection) return;
  session.quic = true;
  session.facts.app = connection->app;
  session.facts.name = connection->name;
  session.moved = std::make_unique<QuicConnection>(*std::move(connection));
}

/// Of what the server answers. By then the hello was read, if it can be: it had to be complete.
void UdpServer::learn_server_id(UdpSession& session) const {
  if (session.hello != nullptr) return;
  for (const Datagram& datagram : datagrams_) {
    const auto header = quic_long_header(datagram.payload);
    const bool answer =
        header && header->destination_id == session.beginning->client_id &&
        (header->kind == QuicPacketKind::initial || header->kind == QuicPacketKind::handshake);
    if (!answer) continue;
    QuicConnection connection;
    connection.app = session.facts.app;
    connection.name.state = FactState::never;
    connection.alpn_offered = std::move(session.beginning->alpn_offered);
    if (session.facts.name.source == NameSource::quic_sni) connection.name = session.facts.name;
    connection.name.verified = false;
    options_.quic->learn(session.flow.source.address, session.flow.original_destination,
                         header->source_id, std::move(connection));
    session.beginning.reset();
    return;
  }
}

/// A QUIC client's hello is for whoever decides, and for the log.
void UdpServer::look(UdpSession& session) {
  if (session.dns != nullptr) {
    for (const Datagram& datagram : datagrams_) session.dns->asked(datagram.payload);
  }
  if (session.hello == nullptr) return;
  for (const Datagram& datagram : datagrams_) session.hello->feed(datagram.payload);
  if (session.state == UdpSession::State::open) return log_hello(session);
  if (session.hello->state() != QuicHelloReader::State::need_more) wake_decision(loop_, session);
}

/// A connection that the rules decide otherwise than the session ends it.
void UdpServer::guard(UdpSession& session) {
  const QuicGuard::Decided decided{
      .policy = *session.policy, .facts = session.facts, .rule = session.flow.rule};
  for (const Datagram& datagram : datagrams_) {
    const auto objection = session.guard->see(datagram.payload, decided);
    if (!objection) continue;
    if (objection->rule != session.flow.rule) session.policy->hit(objection->rule);
    session.flow.rule = objection->rule;
    session.flow.host = host_of(objection->name);
    return refuse(session,
                  {.reason = ConnectReason::rejected_by_rule, .os_error = 0, .detail = {}});
  }
}

/// Once it is complete, and the session is decided; or what another session's hello said.
void UdpServer::log_hello(UdpSession& session) const {
  using State = QuicHelloReader::State;
  const bool logged = options_.log != nullptr && options_.observe_content;
  if (const auto moved = std::exchange(session.moved, nullptr); moved != nullptr && logged) {
    options_.log->tls_hello(session.flow, {.server_name = moved->name.name,
                                           .alpn_offered = moved->alpn_offered,
                                           .alpn_chosen = {},
                                           .version = 0,
                                           .ech = moved->name.ech,
                                           .moved = true});
  }
  if (session.hello == nullptr || session.hello->state() == State::need_more) return;
  const auto reader = std::exchange(session.hello, nullptr);
  learn_quic_hello(*reader, session.facts);  // for rules to come
  if (!logged || reader->state() != State::complete) return;
  auto hello = parse_client_hello(reader->body());
  if (!hello) return;
  if (session.beginning != nullptr) session.beginning->alpn_offered = hello->alpn;
  options_.log->tls_hello(session.flow, {.server_name = std::move(hello->server_name),
                                         .alpn_offered = std::move(hello->alpn),
                                         .alpn_chosen = {},
                                         .version = 0,
                                         .ech = hello->ech,
                                         .moved = false});
}

}  // namespace shunt
