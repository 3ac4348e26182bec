// SPDX-License-Identifier: GPL-2.0-only
#include "capture/marked_traffic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "kernel/nft.h"
#include "unit/kernel/in_namespace.h"

namespace shunt {
namespace {

using testing::HasSubstr;
using testing::Not;

MarkedTraffic full() {
  return {.taken = {"meta skuid 1000", "meta cgroup 0x10010", "meta l4proto tcp th dport 443"},
          .left = {"meta skuid 0"},
          .mark = 0x01000000,
          .mask = 0xff000000,
          .translate = true};
}

TEST(MarkedTraffic, reads_word_for_word) {
  EXPECT_EQ(marking_ruleset(full()), R"(  chain take {
    ct mark set ct mark & 0x00ffffff | 0x01000000
    meta mark set meta mark & 0x00ffffff | 0x01000000
  }
  chain decide {
    fib daddr type { local, broadcast, multicast, anycast } return
    meta skuid 0 return
    meta skuid 1000 goto take
    meta cgroup 0x10010 goto take
    meta l4proto tcp th dport 443 goto take
  }
  chain output {
    type route hook output priority mangle; policy accept;
    ct mark & 0xff000000 == 0x01000000 ct direction original )"
                                     R"(meta mark set meta mark & 0x00ffffff | 0x01000000 return
    tcp flags & (fin | syn | rst | ack) == syn ct state new goto decide
    meta l4proto != tcp ct state new goto decide
  }
  chain source {
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0xff000000 == 0x01000000 masquerade
  }
)");
}

TEST(MarkedTraffic, of_a_users_mark_takes_all_of_it) {
  MarkedTraffic traffic = full();
  traffic.mark = 0x10;
  traffic.mask = 0xffffffff;
  traffic.translate = false;
  const std::string text = marking_ruleset(traffic);
  EXPECT_THAT(text, HasSubstr("    meta mark set 0x00000010\n"));
  EXPECT_THAT(text, HasSubstr("    ct mark 0x00000010 ct direction original meta mark set"));
  EXPECT_THAT(text, Not(HasSubstr("masquerade")));
}

TEST(MarkedTraffic, of_everybody_needs_no_match) {
  MarkedTraffic traffic = full();
  traffic.taken = {""};
  EXPECT_THAT(marking_ruleset(traffic), HasSubstr("\n    goto take\n"));
}

TEST(MarkedTraffic, with_a_source_of_one_family_refuses_the_other) {
  MarkedTraffic traffic = full();
  traffic.source_v4 = Address::parse("192.0.2.1");
  std::string text = marking_ruleset(traffic);
  EXPECT_THAT(text, HasSubstr("meta nfproto ipv4 snat ip to 192.0.2.1\n"));
  EXPECT_THAT(text, HasSubstr("meta nfproto ipv6 reject with icmpx no-route\n"));
  traffic.source_v6 = Address::parse("2001:db8::1");
  text = marking_ruleset(traffic);
  EXPECT_THAT(text, HasSubstr("meta nfproto ipv6 snat ip6 to 2001:db8::1\n"));
  EXPECT_THAT(text, Not(HasSubstr("reject")));
}

TEST(MarkedTraffic, is_taken_by_the_kernel) {
  run_in_test_namespace([](Checks& checks) {
    MarkedTraffic traffic = full();
    for (int turn = 0; turn < 3; ++turn) {
      if (turn > 0) traffic.source_v4 = Address::parse("192.0.2.1");
      if (turn > 1) traffic.mask = 0xffffffff;
      auto table = NftTable::create("probe", marking_ruleset(traffic));
      checks.ok(table, "table");
    }
  });
}

}  // namespace
}  // namespace shunt
