// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "flow/admission.h"
#include "flow/record.h"
#include "net/task.h"
#include "proxy/decide_flow.h"
#include "proxy/dns_service.h"

namespace shunt {

/// The relay's place in a flow whose queries are answered here (DNS over TCP, RFC 7766): lets the
/// client in and answers until it ends, or is silent for limits::kDnsIdleMs. Answers come in the
/// order of the queries.
Task<FlowEnd> serve_dns(EventLoop& loop, DnsService& service, Captured& captured,
                        const DecidedFlow& decided);

}  // namespace shunt
