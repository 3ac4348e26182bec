// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/first_facts.h"

#include <algorithm>
#include <utility>

#include "sniff/identify.h"

namespace shunt {
namespace {

constexpr std::uint16_t kDnsPort = 53;
constexpr std::string_view kSshBanner = "SSH-";  // RFC 4253 section 4.2

void set_app(AppProtocol app, Facts& facts) {
  facts.app = {.state = FactState::known, .app = app};
  if (app != AppProtocol::http) facts.http.state = FactState::never;
}

unsigned big_endian(std::string_view bytes, std::size_t at) {
  return static_cast<unsigned>(static_cast<unsigned char>(bytes[at])) << 8 |
         static_cast<unsigned char>(bytes[at + 1]);
}

constexpr std::size_t kDnsHeaderBytes = 12;

/// A standard query with one question (RFC 1035 section 4.1.1), by its header.
bool has_query_header(std::string_view message) {
  constexpr unsigned kResponseAndOpcode = 0xf800;
  return message.size() > kDnsHeaderBytes && (big_endian(message, 2) & kResponseAndOpcode) == 0 &&
         big_endian(message, 4) == 1 && big_endian(message, 6) == 0;
}

/// Where the name of the question ends, behind its empty label; 0: it is none.
std::size_t question_name_end(std::string_view message) {
  constexpr std::size_t kLabelBytes = 63;
  constexpr std::size_t kNameBytes = 255;
  std::size_t at = kDnsHeaderBytes;
  while (at < message.size() && at - kDnsHeaderBytes < kNameBytes) {
    const auto label = static_cast<unsigned char>(message[at++]);
    if (label == 0) return at;
    if (label > kLabelBytes) return 0;
    at += label;
  }
  return 0;
}

/// A query by every field, strict enough to be told from other protocols on any port.
bool is_whole_query(std::string_view message) {
  constexpr unsigned kOfAnswers = 0x048f;  // AA, RA and an RCODE
  constexpr std::size_t kTypeAndClassBytes = 4;
  constexpr unsigned kMostAdditional = 2;  // EDNS, TSIG
  if (!has_query_header(message) || (big_endian(message, 2) & kOfAnswers) != 0) return false;
  const unsigned additional = big_endian(message, 10);
  if (big_endian(message, 8) != 0 || additional > kMostAdditional) return false;
  const std::size_t name_end = question_name_end(message);
  if (name_end == 0 || message.size() < name_end + kTypeAndClassBytes) return false;
  const unsigned type = big_endian(message, name_end);
  const unsigned question_class = big_endian(message, name_end + 2);
  const bool known_class = question_class == 1 || (question_class >= 3 && question_class <= 4) ||
                           (question_class >= 254 && question_class <= 255);
  const bool ends_there = message.size() == name_end + kTypeAndClassBytes;
  return type != 0 && known_class && ends_there == (additional == 0);
}

bool is_dns_query(std::string_view message, const Facts& facts) {
  return facts.destination.port == kDnsPort ? has_query_header(message) : is_whole_query(message);
}

/// Behind a length of two bytes (RFC 7766 section 8).
bool is_dns_over_tcp(std::string_view bytes, const Facts& facts) {
  if (bytes.size() <= 2) return false;
  const std::size_t length = big_endian(bytes, 0);
  const std::string_view message = bytes.substr(2, length);
  if (facts.destination.port != kDnsPort && message.size() < length) return false;
  return is_dns_query(message, facts);
}

void learn_app(std::string_view bytes, Facts& facts) {
  if (facts.app.state != FactState::unknown) return;
  if (bytes.starts_with(kSshBanner)) return set_app(AppProtocol::ssh, facts);
  if (kSshBanner.starts_with(bytes)) return;
  if (is_dns_over_tcp(bytes, facts)) return set_app(AppProtocol::dns, facts);
  switch (identify(bytes)) {
    case FirstBytes::http1: return set_app(AppProtocol::http, facts);
    case FirstBytes::tls: return set_app(AppProtocol::tls, facts);
    case FirstBytes::other:
      if (http_likeness(bytes) == HttpLikeness::maybe) return;
      return set_app(AppProtocol::other, facts);
    case FirstBytes::need_more:
      if (bytes.size() >= peek_bytes()) set_app(AppProtocol::other, facts);
  }
}

void set_name(NamePeek peeked, Facts& facts) {
  if (peeked.state == NamePeek::State::need_more) return;
  facts.name.state = peeked.state == NamePeek::State::match ? FactState::known : FactState::never;
  facts.name.name = std::move(peeked.name);
  facts.name.source = peeked.source;
  facts.name.ech = peeked.ech;
  facts.rival_names = std::move(peeked.rivals);
}

void learn_name(std::string_view bytes, Facts& facts) {
  NamePeek peeked = peek_name(bytes);
  if (peeked.unread) facts.app.unread = peeked.unread;
  if (facts.name.state == FactState::unknown) set_name(std::move(peeked), facts);
}

/// "/x" of "/x?y" and of "http://a/x?y"; "/" of "http://a".
std::string_view path_of(std::string_view target) {
  target = target.substr(0, target.find('?'));
  const std::size_t scheme_end = target.find("://");
  if (target.starts_with('/') || scheme_end == std::string_view::npos) return target;
  const std::size_t path = target.find('/', scheme_end + 3);
  return path == std::string_view::npos ? "/" : target.substr(path);
}

void set_request(std::string_view method, std::string_view target, Facts& facts) {
  facts.http = {.state = FactState::known,
                .method = std::string(method),
                .path = std::string(path_of(target))};
}

/// The first line is complete and well formed: identify() has said so.
void learn_request_line(std::string_view bytes, Facts& facts) {
  if (facts.http.state != FactState::unknown || facts.app.state != FactState::known) return;
  bytes.remove_prefix(std::min(bytes.find_first_not_of("\r\n"), bytes.size()));
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  const std::size_t target = line.find(' ') + 1;
  set_request(line.substr(0, target - 1), line.substr(target, line.find(' ', target) - target),
              facts);
}

}  // namespace

void learn_first_bytes(std::string_view bytes, Facts& facts) {
  if (bytes.empty()) return;
  learn_app(bytes, facts);
  learn_name(bytes, facts);
  learn_request_line(bytes, facts);
}

void learn_first_datagram(std::string_view payload, Facts& facts) {
  if (is_quic_initial(payload)) return set_app(AppProtocol::quic, facts);
  set_app(is_dns_query(payload, facts) ? AppProtocol::dns : AppProtocol::other, facts);
  settle_first_bytes(facts);
}

void learn_quic_hello(const QuicHelloReader& reader, Facts& facts) {
  NamePeek peeked = peek_name(reader);
  if (peeked.unread) facts.app.unread = peeked.unread;
  if (facts.name.state == FactState::unknown) set_name(std::move(peeked), facts);
}

void learn_tls_hello(const TlsHelloReader& reader, Facts& facts) {
  NamePeek peeked = peek_name(reader);
  facts.app = {.state = FactState::known, .app = AppProtocol::tls, .unread = peeked.unread};
  facts.http.state = FactState::never;
  facts.name = {};
  set_name(std::move(peeked), facts);
}

void learn_request(const HttpHead& head, Facts& facts) {
  set_request(head.method, head.target, facts);
  auto name = requested_host(head);
  facts.name = {.state = name ? FactState::known : FactState::never,
                .name = std::move(name).value_or(""),
                .source = NameSource::http_host,
                .verified = false};
  facts.rival_names = rival_hosts(head);
}

void settle_first_bytes(Facts& facts) {
  for (FactState* state : {&facts.name.state, &facts.app.state, &facts.http.state}) {
    if (*state == FactState::unknown) *state = FactState::never;
  }
}

}  // namespace shunt
