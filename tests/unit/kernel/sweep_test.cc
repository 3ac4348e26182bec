// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/sweep.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "kernel/links.h"
#include "kernel/nft.h"
#include "kernel/policy_route.h"
#include "kernel/record.h"
#include "kernel/state_lock.h"
#include "kernel/text_file.h"
#include "takeover.h"

namespace shunt {
namespace {

TEST(Sweep, finds_only_the_inert_rule_of_one_that_was_killed) {
  if (const auto reason = no_tun_because(); !reason.empty()) GTEST_SKIP() << reason;
  run_with_records([](Checks& check) {
    OtherShunt other(true);
    check.that(other.ready() && tagged_rules() == 1 && tagged_routes() == 1, "in force");
    other.kill();
    check.that(tagged_routes() == 0 && list_nft_tables()->empty(), "routes and tables gone");
    check.that(list_links()->size() == 1, "device gone");
    check.that(tagged_rules() == 1, "the rule is left");
    const auto report = sweep();
    check.that(report && report->removed.size() == 2 && report->problems.empty(), "rule, sysctl");
    check.that(tagged_rules() == 0 && value(kForward) == "0", "swept");
    const auto again = sweep();
    check.that(again && again->removed.empty() && again->kept.empty(), "idempotent");
  });
}

TEST(Sweep, removes_what_one_killed_at_any_moment_leaves) {
  run_with_records([](Checks& check) {
    OtherShunt living;
    for (useconds_t delay_us = 0; delay_us < 30'000; delay_us += 3'000) {
      const pid_t victim = ::fork();
      if (victim == 0) {
        static auto takeover = take_over("lo", true);
        while (true) ::pause();
      }
      ::usleep(delay_us);
      ::kill(victim, SIGKILL);
      ::waitpid(victim, nullptr, 0);
      const auto report = sweep();
      if (!check.ok(report, "sweep")) return;
      check.that(report->problems.empty(), "no problems");
      check.that(tagged_rules() == 1 && tagged_routes() == 1, "only the living one's rule");
      check.that(list_nft_tables()->size() == 1, "only the living one's table");
    }
    living.kill();
    check.ok(sweep(), "the last one");
    check.that(value(kForward) == "0" && tagged_rules() == 0, "nothing is left");
  });
}

TEST(Sweep, at_the_start_spares_the_living) {
  run_with_records([](Checks& check) {
    OtherShunt dead;
    OtherShunt living;
    check.that(dead.ready() && living.ready(), "ready");
    dead.kill();
    check.that(tagged_rules() == 2 && tagged_routes() == 2, "both are there");
    const auto mine = Instance::create("test");
    if (!check.ok(mine, "create")) return;
    check.that(tagged_rules() == 1 && tagged_routes() == 1, "the living one's are left");
    check.that(value(kForward) == "1", "and its sysctl");
    const auto report = sweep();
    check.that(report && report->removed.empty() && report->kept.size() == 1, "nothing to sweep");
    check.that(report && !report->kept.empty() &&
                   report->kept.front().contains(fmt::format("pid {}", living.pid())),
               "and it says whose it is");
  });
}

TEST(Sweep, spares_one_whose_record_it_cannot_see) {
  run_with_records([](Checks& check) {
    OtherShunt other;  // routes through "lo": only its owned table tells that it lives
    const std::string elsewhere = ::getenv("SHUNT_RUN_DIR");
    const auto here = fresh_run_directory();
    auto report = sweep();
    check.that(report && report->removed.empty() && tagged_rules() == 1, "spared");
    other.kill();
    report = sweep();
    check.that(report && tagged_rules() == 0 && tagged_routes() == 0, "swept when it is dead");
    std::filesystem::remove_all(here);
    ::setenv("SHUNT_RUN_DIR", elsewhere.c_str(), 1);
  });
}

TEST(Sweep, removes_a_dead_one_s_closed_table_only_when_asked) {
  run_with_records([](Checks& check) {
    OtherShunt other(false, true);
    check.that(other.ready() && table_exists("shunt-0-closed"), "there");
    other.kill();
    check.that(!table_exists("shunt-0") && table_exists("shunt-0-closed"), "left by the dead");
    auto mine = take_over("lo", true);
    if (!check.ok(mine, "take over")) return;
    check.that(table_exists("shunt-0-closed"), "no gap");
    check.that(table_exists("shunt-1-closed"), "mine has another name");
    const auto report = mine->instance.sweep_closed_tables();
    check.that(report.removed == std::vector<std::string>{"table inet shunt-0-closed"}, "said");
    check.that(!table_exists("shunt-0-closed") && table_exists("shunt-1-closed"),
               "only the dead's");
  });
}

TEST(Sweep, removes_a_dead_one_s_closed_table_and_no_foreign_one) {
  run_with_records([](Checks& check) {
    check.ok(nft_run("table inet filter {\n}\ntable ip shunt-7-closed {\n}\n"), "foreign");
    OtherShunt other(false, true);
    auto report = sweep();
    check.that(report && report->removed.empty() && table_exists("shunt-0-closed"), "it lives");
    other.kill();
    report = sweep();
    check.that(report && report->problems.empty() && !table_exists("shunt-0-closed"), "removed");
    check.that(table_exists("filter") && table_exists("shunt-7-closed"), "others' are left");
  });
}

TEST(Sweep, leaves_foreign_rules_and_a_user_s_routes_alone) {
  run_with_records([](Checks& check) {
    check.ok(add_rule({.priority = 10, .mark = 1, .mask = 1, .table = 300, .protocol = 3}), "rule");
    check.ok(add_rule({.priority = 11, .mark = 2, .mask = 2, .table = 301, .protocol = 4}), "too");
    check.ok(add_route({.type = RouteType::local, .table = 301, .interface = "lo", .protocol = 4}),
             "a user's route");
    const auto report = sweep();
    check.that(report && report->removed.empty(), "nothing removed");
    check.that(list_rules(Family::ipv4)->size() == 5, "all there");
  });
}

/// As ways out with `table` have them, and keep-source.
void add_rules_of_ways_out(Checks& check, const Allotment& allotment) {
  check.ok(add_rule({.priority = allotment.first_priority + Allotment::kTablePriority,
                     .mark = 0x10000,
                     .mask = 0xff0000,
                     .table = 301}),
           "lookup");
  check.ok(add_rule({.priority = allotment.first_priority + Allotment::kTablePriority + 1,
                     .mark = 0x10000,
                     .mask = 0xff0000,
                     .action = RuleAction::unreachable}),
           "unreachable");
  check.ok(add_rule({.priority = allotment.first_priority + Allotment::kReturnPriority,
                     .mark = allotment.marks.reply(),
                     .mask = allotment.marks.mask,
                     .action = RuleAction::nothing}),
           "nop");
}

TEST(Sweep, removes_a_dead_one_s_rules_for_a_user_s_table_and_leaves_its_routes) {
  run_with_records([](Checks& check) {
    check.ok(add_route({.type = RouteType::local, .table = 301, .interface = "lo", .protocol = 4}),
             "a user's route");
    Allotment allotment;
    {
      const auto mine = Instance::create("test");
      if (!check.ok(mine, "create")) return;
      allotment = mine->allotment();
      add_rules_of_ways_out(check, allotment);
      const auto report = sweep();
      check.that(report && report->removed.empty() && report->kept.size() == 3, "mine live");
      check.that(tagged_rules() == 3, "and are there");
    }
    const auto report = sweep();
    check.that(report && report->removed.size() == 3 && tagged_rules() == 0, "swept");
    check.that(list_routes(Family::ipv4, 301)->size() == 1, "the user's route is left");
  });
}

TEST(Sweep, spares_rules_for_a_user_s_table_while_somebody_lives_unseen) {
  run_with_records([](Checks& check) {
    OtherShunt other;
    const std::string elsewhere = ::getenv("SHUNT_RUN_DIR");
    add_rules_of_ways_out(check, live_instances()->front().allotment);
    const auto here = fresh_run_directory();
    auto report = sweep();
    check.that(report && report->removed.empty() && tagged_rules() == 4, "spared");
    other.kill();
    report = sweep();
    check.that(report && tagged_rules() == 0, "swept when it is dead");
    std::filesystem::remove_all(here);
    ::setenv("SHUNT_RUN_DIR", elsewhere.c_str(), 1);
  });
}

TEST(Sweep, spares_everything_while_a_record_is_unreadable) {
  run_with_records([](Checks& check) {
    OtherShunt other;
    const auto directory = namespace_directory(::getenv("SHUNT_RUN_DIR"));
    check.ok(
        write_text_file(record_path(*directory, 0), "from a later version\n", O_WRONLY | O_TRUNC),
        "overwrite");
    const auto report = sweep();
    check.that(report && report->removed.empty() && tagged_rules() == 1, "spared");
  });
}

}  // namespace
}  // namespace shunt
