// SPDX-License-Identifier: GPL-2.0-only
#include "flow/failure.h"

#include <cerrno>

namespace shunt {

std::string_view reason_text(ConnectReason reason) {
  switch (reason) {
    case ConnectReason::refused: return "refused";
    case ConnectReason::host_unreachable: return "host unreachable";
    case ConnectReason::network_unreachable: return "network unreachable";
    case ConnectReason::timed_out: return "timed out";
    case ConnectReason::reset: return "reset";
    case ConnectReason::denied: return "denied by proxy";
    case ConnectReason::proxy_error: return "proxy error";
    case ConnectReason::loop: return "loop";
    case ConnectReason::no_destination: return "no original destination";
    case ConnectReason::unsupported: return "unsupported by way out";
    case ConnectReason::resources: return "out of resources";
    case ConnectReason::cancelled: return "cancelled";
    case ConnectReason::rejected_by_rule: return "rejected by rule";
    case ConnectReason::dropped_by_rule: return "dropped by rule";
    case ConnectReason::client_gone: return "client gone";
    case ConnectReason::bad_proxy_header: return "no acceptable PROXY header";
  }
  return "unknown";
}

int reason_errno(ConnectReason reason) {
  switch (reason) {
    case ConnectReason::host_unreachable: return EHOSTUNREACH;
    case ConnectReason::network_unreachable: return ENETUNREACH;
    case ConnectReason::timed_out: return ETIMEDOUT;
    default: return ECONNREFUSED;
  }
}

ConnectFailure failure_from_errno(int os_error) {
  const auto reason = [os_error] {
    switch (os_error) {
      case ECONNREFUSED: return ConnectReason::refused;
      case EHOSTUNREACH:
      case EHOSTDOWN:
      case ENONET:       // ICMP "source host isolated" (icmp_err_convert, net/ipv4/icmp.c)
      case ENOPROTOOPT:  // ICMP "protocol unreachable"
      case EACCES:       // ICMPv6 "administratively prohibited", or a `prohibit` route here
      case EPERM: return ConnectReason::host_unreachable;  // a local filter dropped it
      case ENETUNREACH:
      case ENETDOWN:
      case EAFNOSUPPORT:                                       // IPv6 is not in this kernel
      case EINVAL: return ConnectReason::network_unreachable;  // link-local without a scope
      case ETIMEDOUT: return ConnectReason::timed_out;
      case ECONNRESET:
      case EPIPE: return ConnectReason::reset;
      default: return ConnectReason::resources;
    }
  }();
  return {.reason = reason, .os_error = os_error, .detail = {}};
}

}  // namespace shunt
