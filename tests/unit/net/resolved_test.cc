// SPDX-License-Identifier: GPL-2.0-only
#include "net/resolved.h"

#include <gtest/gtest.h>

#include <vector>

namespace shunt {
namespace {

/// As getaddrinfo(3) chains them.
class Found {
 public:
  explicit Found(const std::vector<Endpoint>& endpoints) {
    for (const Endpoint& endpoint : endpoints) addresses_.emplace_back(endpoint);
    entries_.resize(addresses_.size());
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      entries_[i].ai_addr = const_cast<sockaddr*>(addresses_[i].get());
      entries_[i].ai_addrlen = addresses_[i].size();
      entries_[i].ai_next = i + 1 < entries_.size() ? &entries_[i + 1] : nullptr;
    }
  }
  [[nodiscard]] const addrinfo* list() const { return entries_.data(); }

 private:
  std::vector<SocketAddress> addresses_;
  std::vector<addrinfo> entries_;
};

TEST(ResolvedEndpoints, are_told_once_in_their_order_and_no_more_than_asked_for) {
  const Endpoint a = *Endpoint::parse("192.0.2.1:80");
  const Endpoint b = *Endpoint::parse("[2001:db8::1]:80");
  const Endpoint c = *Endpoint::parse("192.0.2.2:80");
  const Found found({b, a, b, a, c});
  EXPECT_EQ(resolved_endpoints(found.list(), 16), (std::vector{b, a, c}));
  EXPECT_EQ(resolved_endpoints(found.list(), 1), (std::vector{b}));
  EXPECT_TRUE(resolved_endpoints(nullptr, 16).empty());
}

}  // namespace
}  // namespace shunt
