// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/open_connections.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

namespace shunt {
namespace {

TEST(OpenConnections, connected_ones_that_leave_the_machine_are_found_by_their_inodes) {
  constexpr const char* kText =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
      "inode\n"
      "   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
      "100 1\n"
      "   1: 0200A8C0:A000 097100CB:0050 01 00000000:00000000 00:00000000 00000000     0        0 "
      "101 1\n"
      "   2: 0100007F:A001 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 "
      "102 1\n"
      "   3: 0200A8C0:A002 097100CB:0050 06 00000000:00000000 00:00000000 00000000     0        0 "
      "0 "
      "1\n"
      "   4: B80D0120000000000000000001000000:A003 B80D0120000000000000000009000000:0050 01 "
      "00000000:00000000 00:00000000 00000000     0        0 104 1\n"
      "   5: 00000000000000000000000001000000:A004 00000000000000000000000001000000:0050 01 "
      "00000000:00000000 00:00000000 00000000     0        0 105 1\n"
      "   6: 0000000000000000FFFF00000100007F:A005 0000000000000000FFFF00000100007F:0050 01 "
      "00000000:00000000 00:00000000 00000000     0        0 106 1\n"
      "   7: short\n"
      "   8: 00000000:A007 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 "
      "107 1\n";
  EXPECT_EQ(counted_inodes(kText, CountedSockets::connected),
            (std::vector<unsigned long>{101, 104}));
  EXPECT_EQ(counted_inodes(kText, CountedSockets::outgoing),
            (std::vector<unsigned long>{101, 104, 107}));
}

TEST(OpenConnections, process_without_any_has_none) {
  EXPECT_EQ(count_sockets({::getpid()}, CountedSockets::outgoing), 0U);
  EXPECT_EQ(count_sockets({}, CountedSockets::connected), 0U);
}

}  // namespace
}  // namespace shunt
