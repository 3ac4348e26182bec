// SPDX-License-Identifier: GPL-2.0-only
#include "capture/host_network_watch.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>

namespace shunt {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Result<HostNetworkWatch> HostNetworkWatch::create(HostNetwork known, bool through_proxy) {
  auto events = SHUNT_TRY(NetlinkSocket::open(NETLINK_ROUTE));
  // Links as well: routes that go with their link go without a word (fib_sync_down_dev()).
  for (const unsigned group : {RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_IFADDR,
                               RTNLGRP_IPV6_IFADDR, RTNLGRP_LINK}) {
    SHUNT_CHECK(events.join(group));
  }
  return HostNetworkWatch(std::move(events), std::move(known), through_proxy);
}

int HostNetworkWatch::timeout_ms() const {
  if (!due_) return -1;
  const auto left = std::chrono::ceil<milliseconds>(*due_ - steady_clock::now());
  return static_cast<int>(std::clamp<milliseconds::rep>(left.count(), 0, kSettleMs));
}

std::optional<HostNetwork> HostNetworkWatch::changed() {
  bool any = false;
  // Events that were lost (false) are events too.
  if (const auto all = events_.receive([&](const nlmsghdr& /*message*/) { any = true; });
      !all || !*all) {
    any = true;
  }
  if (any) {
    due_ = steady_clock::now() + milliseconds(kSettleMs);
    return std::nullopt;
  }
  if (!due_ || steady_clock::now() < *due_) return std::nullopt;
  due_.reset();
  HostNetwork now = look_at_host(through_proxy_);
  if (now == known_) return std::nullopt;
  known_ = now;
  return now;
}

}  // namespace shunt
