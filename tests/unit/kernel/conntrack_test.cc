// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/conntrack.h"

#include <gtest/gtest.h>

#include "in_namespace.h"

namespace shunt {
namespace {

// That it forgets its own connections and no others is for tests/system/test_gateway_rules.py.

TEST(ForgetConnections, of_a_mark_that_nobody_has_is_no_error) {
  run_in_test_namespace([](Checks& check) {
    check.ok(forget_connections(0x01000000, 0xff000000), "forget");
    check.ok(forget_but_tcp(0x01000000, 0xff000000), "forget all but TCP");
  });
}

TEST(ForgetConnections, without_a_mask_is_refused_since_it_would_mean_all) {
  run_in_test_namespace([](Checks& check) {
    check.that(!forget_connections(0, 0).has_value(), "an empty mask is refused");
    check.that(!forget_but_tcp(0, 0).has_value(), "there too");
  });
}

}  // namespace
}  // namespace shunt
