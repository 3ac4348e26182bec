// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/nft_counters.h"

#include <gtest/gtest.h>

#include <string>

#include "kernel/nft.h"
#include "unit/kernel/in_namespace.h"

namespace shunt {
namespace {

TEST(NftCounters, are_those_of_one_table) {
  run_in_test_namespace([](Checks& check) {
    const auto loaded = nft_run(
        "table inet mine {\n  counter rule_1 {\n    packets 5 bytes 300\n  }\n"
        "  counter rule_20 {\n  }\n  quota q {\n    over 1 bytes\n  }\n}\n"
        "table inet other {\n  counter rule_1 {\n    packets 7 bytes 1\n  }\n}\n");
    if (!check.ok(loaded, "load")) return;
    const auto counters = list_nft_counters("mine");
    if (!check.ok(counters, "list")) return;
    std::string text;
    for (const auto& [name, packets] : *counters) {
      text += name + " " + std::to_string(packets) + "\n";
    }
    check.that(text == "rule_1 5\nrule_20 0\n" || text == "rule_20 0\nrule_1 5\n", text);
  });
}

TEST(NftCounters, of_a_table_that_is_not_there_are_none) {
  run_in_test_namespace([](Checks& check) {
    const auto counters = list_nft_counters("nowhere");
    check.that(!counters || counters->empty(), "none");
  });
}

}  // namespace
}  // namespace shunt
