// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/identify.h"

#include <algorithm>

#include "base/limits.h"
#include "net/host_name.h"
#include "sniff/http1.h"
#include "sniff/tls.h"

namespace shunt {
namespace {

constexpr char kTlsMajorVersion = 3;  // of a record; the minor one is ignored (RFC 8446, 5.1)
constexpr std::size_t kRecordHeadersBytes = 1024;  // of a hello cut into some two hundred records

/// An address is none.
std::optional<std::string> normal_name(std::string_view text) {
  auto name = host_name(text);
  if (!name || is_address(*name)) return std::nullopt;
  return name;
}

NamePeek named(std::optional<std::string> name, NameSource source) {
  if (!name) return {.state = NamePeek::State::none};
  return {.state = NamePeek::State::match, .name = *std::move(name), .source = source};
}

NamePeek unread(AppProtocol app) { return {.state = NamePeek::State::none, .unread = app}; }

NamePeek peek_http(std::string_view bytes) {
  Http1Parser parser(HttpKind::request);
  const auto step = parser.feed(bytes);
  if (step.event == HttpEvent::none) return {};
  if (step.event == HttpEvent::head) {
    NamePeek peek = named(requested_host(step.head), NameSource::http_host);
    peek.rivals = rival_hosts(step.head);
    return peek;
  }
  switch (http_likeness(bytes)) {
    case HttpLikeness::maybe: return {};
    case HttpLikeness::no: return {.state = NamePeek::State::none};
    case HttpLikeness::yes: break;
  }
  return unread(AppProtocol::http);
}

NamePeek peek_hello(std::string_view body, NameSource source) {
  const auto hello = parse_client_hello(body);
  if (!hello) return unread(source == NameSource::tls_sni ? AppProtocol::tls : AppProtocol::quic);
  NamePeek peek = named(normal_name(hello->server_name), source);
  peek.ech = hello->ech;
  return peek;
}

NamePeek peek_tls(std::string_view bytes) {
  TlsHelloReader reader(TlsMessage::client_hello);
  reader.feed(bytes);
  if (bytes.size() > 1 && bytes[1] != kTlsMajorVersion) return {.state = NamePeek::State::none};
  NamePeek peek = peek_name(reader);
  const bool full = bytes.size() >= peek_bytes();  // as of a hello in records of a byte each
  return full && peek.state == NamePeek::State::need_more ? unread(AppProtocol::tls) : peek;
}

bool starts_like_tls(std::string_view bytes) { return bytes.front() == 0x16; }

FirstBytes identify_tls(std::string_view bytes) {
  constexpr std::size_t kMessageType = 5;
  for (std::size_t i = 0; i < std::min(bytes.size(), kMessageType + 1); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if ((i == 1 && byte != kTlsMajorVersion) || (i == kMessageType && byte != 1)) {
      return FirstBytes::other;
    }
  }
  return bytes.size() > kMessageType ? FirstBytes::tls : FirstBytes::need_more;
}

}  // namespace

std::optional<std::string> requested_host(const HttpHead& head) {
  if (head.several_hosts) return std::nullopt;
  return normal_name(host_without_port(head.method == "CONNECT" ? head.target : head.host));
}

std::vector<std::string> rival_hosts(const HttpHead& head) {
  std::vector<std::string> names;
  if (!head.several_hosts || head.method == "CONNECT") return names;
  for (const std::string_view host : {head.host, head.other_host}) {
    if (auto name = normal_name(host_without_port(host))) names.push_back(*std::move(name));
  }
  return names;
}

FirstBytes identify(std::string_view bytes) {
  if (bytes.empty()) return FirstBytes::need_more;
  if (starts_like_tls(bytes)) return identify_tls(bytes);
  const std::size_t start = std::min(bytes.find_first_not_of("\r\n"), bytes.size());
  const std::size_t line_end = bytes.find('\n', start);
  Http1Parser parser(HttpKind::request);
  const auto step = parser.feed(bytes.substr(0, line_end));
  if (step.event == HttpEvent::stopped) return FirstBytes::other;
  if (line_end == std::string_view::npos) return FirstBytes::need_more;
  std::string_view line = bytes.substr(start, line_end - start);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return is_http_first_line(HttpKind::request, line) ? FirstBytes::http1 : FirstBytes::other;
}

NamePeek peek_name(const QuicHelloReader& reader) {
  switch (reader.state()) {
    case QuicHelloReader::State::need_more: return {};
    case QuicHelloReader::State::stopped:
      return reader.opened() ? unread(AppProtocol::quic) : NamePeek{.state = NamePeek::State::none};
    case QuicHelloReader::State::complete: break;
  }
  return peek_hello(reader.body(), NameSource::quic_sni);
}

NamePeek peek_name(const TlsHelloReader& reader) {
  switch (reader.state()) {
    case TlsHelloReader::State::need_more: return {};
    case TlsHelloReader::State::stopped: return unread(AppProtocol::tls);
    case TlsHelloReader::State::complete: break;
  }
  return peek_hello(reader.body(), NameSource::tls_sni);
}

NamePeek peek_name(std::string_view bytes) {
  if (bytes.empty()) return {};
  NamePeek peek = starts_like_tls(bytes) ? peek_tls(bytes) : peek_http(bytes);
  const bool full = bytes.size() >= peek_bytes();
  if (full && peek.state == NamePeek::State::need_more) peek.state = NamePeek::State::none;
  return peek;
}

std::size_t peek_bytes() {
  return std::max(limits::kHttpHeadBytes, limits::kTlsHelloBytes + kRecordHeadersBytes);
}

}  // namespace shunt
