// SPDX-License-Identifier: GPL-2.0-only
#include "sniff/identify.h"

#include <algorithm>

#include "base/limits.h"
#include "net/host_name.h"
#include "sniff/http1.h"
#include "sniff/tls.h"

namespace shunt {
namespace {

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

NamePeek peek_http(std::string_view bytes) {
  Http1Parser parser(HttpKind::request);
  const auto step = parser.feed(bytes);
  if (step.event == HttpEvent::none) return {};
  if (step.event != HttpEvent::head) return {.state = NamePeek::State::none};
  return named(requested_host(step.head), NameSource::http_host);
}

NamePeek peek_hello(std::string_view body, NameSource source) {
  const auto hello = parse_client_hello(body);
  if (!hello) return {.state = NamePeek::State::none};
  NamePeek peek = named(normal_name(hello->server_name), source);
  peek.ech = hello->ech;
  return peek;
}

NamePeek peek_tls(std::string_view bytes) {
  TlsHelloReader reader(TlsMessage::client_hello);
  const auto state = reader.feed(bytes);
  if (state == TlsHelloReader::State::need_more) return {};
  if (state == TlsHelloReader::State::stopped) return {.state = NamePeek::State::none};
  return peek_hello(reader.body(), NameSource::tls_sni);
}

bool starts_like_tls(std::string_view bytes) { return bytes.front() == 0x16; }

FirstBytes identify_tls(std::string_view bytes) {
  constexpr std::size_t kMessageType = 5;
  for (std::size_t i = 0; i < std::min(bytes.size(), kMessageType + 1); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if ((i == 1 && byte != 3) || (i == 2 && byte > 4) || (i == kMessageType && byte != 1)) {
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
    case QuicHelloReader::State::stopped: return {.state = NamePeek::State::none};
    case QuicHelloReader::State::complete: break;
  }
  return peek_hello(reader.body(), NameSource::quic_sni);
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
