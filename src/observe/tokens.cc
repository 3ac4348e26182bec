// SPDX-License-Identifier: GPL-2.0-only
#include "observe/tokens.h"

#include <fmt/format.h>

#include <array>

namespace shunt {

std::string_view reason_token(EndReason reason) {
  switch (reason) {
    case EndReason::closed: return "closed";
    case EndReason::client_reset: return "client_reset";
    case EndReason::upstream_reset: return "upstream_reset";
    case EndReason::idle: return "idle";
    case EndReason::shutdown: return "shutdown";
    case EndReason::evicted: return "evicted";
    case EndReason::refused: return "refused";
    case EndReason::rules_changed: return "rules_changed";
    case EndReason::host_changed: return "host_changed";
  }
  return "unknown";
}

std::string_view failure_token(ConnectReason reason) {
  switch (reason) {
    case ConnectReason::refused: return "refused";
    case ConnectReason::host_unreachable: return "host_unreachable";
    case ConnectReason::network_unreachable: return "network_unreachable";
    case ConnectReason::timed_out: return "timed_out";
    case ConnectReason::reset: return "reset";
    case ConnectReason::denied: return "denied";
    case ConnectReason::proxy_error: return "proxy_error";
    case ConnectReason::loop: return "loop";
    case ConnectReason::no_destination: return "no_destination";
    case ConnectReason::unsupported: return "unsupported";
    case ConnectReason::resources: return "resources";
    case ConnectReason::cancelled: return "cancelled";
    case ConnectReason::rejected_by_rule: return "rejected_by_rule";
    case ConnectReason::dropped_by_rule: return "dropped_by_rule";
    case ConnectReason::client_gone: return "client_gone";
    case ConnectReason::bad_proxy_header: return "bad_proxy_header";
  }
  return "unknown";
}

std::string_view body_token(BodyEnd body_end) {
  switch (body_end) {
    case BodyEnd::complete: return "complete";
    case BodyEnd::cut: return "cut";
    case BodyEnd::unseen: return "unseen";
  }
  return "unknown";
}

std::string_view capture_token(CaptureMethod method) {
  switch (method) {
    case CaptureMethod::tproxy: return "tproxy";
    case CaptureMethod::redirect: return "redirect";
    case CaptureMethod::listener: return "listener";
    case CaptureMethod::seccomp: return "seccomp";
    case CaptureMethod::ebpf: return "ebpf";
    case CaptureMethod::preload: return "preload";
    case CaptureMethod::ptrace: return "ptrace";
  }
  return "unknown";
}

std::string_view name_source_token(NameSource source) {
  switch (source) {
    case NameSource::none: return "";
    case NameSource::http_host: return "http";
    case NameSource::tls_sni: return "tls";
    case NameSource::quic_sni: return "quic";
    case NameSource::dns_memory: return "dns";
    case NameSource::proxy_header: return "proxy";
    case NameSource::fake_ip: return "fake-ip";
  }
  return "";
}

std::string tls_version_text(std::uint16_t version) {
  switch (version) {
    case 0: return "";
    case 0x0300: return "SSL 3.0";
    case 0x0301: return "TLS 1.0";
    case 0x0302: return "TLS 1.1";
    case 0x0303: return "TLS 1.2";
    case 0x0304: return "TLS 1.3";
    default: return fmt::format("0x{:04x}", version);
  }
}

std::string dns_type_text(std::uint16_t type) {
  switch (type) {
    case 1: return "A";
    case 2: return "NS";
    case 5: return "CNAME";
    case 6: return "SOA";
    case 12: return "PTR";
    case 15: return "MX";
    case 16: return "TXT";
    case 28: return "AAAA";
    case 33: return "SRV";
    case 64: return "SVCB";
    case 65: return "HTTPS";
    case 255: return "ANY";
    default: return fmt::format("TYPE{}", type);
  }
}

std::string dns_rcode_text(std::uint8_t rcode) {
  constexpr std::array<std::string_view, 6> kNames = {"NOERROR",  "FORMERR", "SERVFAIL",
                                                      "NXDOMAIN", "NOTIMP",  "REFUSED"};
  if (rcode < kNames.size()) return std::string(kNames[rcode]);
  return fmt::format("RCODE{}", rcode);
}

}  // namespace shunt
