// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/instance.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "kernel/nft.h"
#include "kernel/policy_route.h"
#include "takeover.h"

namespace shunt {
namespace {

TEST(Instance, leaves_nothing_after_an_orderly_stop) {
  run_with_records([](Checks& check) {
    {
      auto takeover = take_over("lo", true);
      if (!check.ok(takeover, "take over")) return;
      check.that(value(kForward) == "1" && tagged_rules() == 1, "in force");
      const auto live = live_instances();
      check.that(live && live->size() == 1 && live->front().pid == ::getpid(), "on record");
    }
    check.that(value(kForward) == "0", "sysctl restored");
    check.that(tagged_rules() == 0 && tagged_routes() == 0, "rules and routes gone");
    check.that(list_nft_tables()->empty(), "tables gone");
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(::getenv("SHUNT_RUN_DIR"))) {
      if (entry.path().filename() != "lock") ++files;
    }
    check.that(files == 0, "records gone");
  });
}

TEST(Instance, two_of_them_share_nothing) {
  run_with_records([](Checks& check) {
    const auto first = take_over();
    const auto second = take_over();
    if (!check.ok(first, "first") || !check.ok(second, "second")) return;
    const auto& a = first->instance.allotment();
    const auto& b = second->instance.allotment();
    check.that((a.marks.mask & b.marks.mask) == 0, "marks");
    check.that(a.route_table != b.route_table, "route tables");
    check.that(a.first_priority + Allotment::kPriorities <= b.first_priority ||
                   b.first_priority + Allotment::kPriorities <= a.first_priority,
               "priorities");
    check.that(a.table_name != b.table_name, "names");
  });
}

TEST(Instance, last_one_to_leave_restores_the_sysctls) {
  run_with_records([](Checks& check) {
    std::optional<Takeover> first(std::move(*take_over()));
    std::optional<Takeover> second(std::move(*take_over()));
    first.reset();
    check.that(value(kForward) == "1", "the second still needs it");
    second.reset();
    check.that(value(kForward) == "0", "nobody does");
  });
}

TEST(Instance, leaves_the_sysctls_to_one_whose_record_it_cannot_see) {
  run_with_records([](Checks& check) {
    std::optional<Takeover> mine(std::move(*take_over()));
    const std::string run = ::getenv("SHUNT_RUN_DIR");
    const auto elsewhere = fresh_run_directory();
    OtherShunt other;
    ::setenv("SHUNT_RUN_DIR", run.c_str(), 1);
    mine.reset();
    check.that(value(kForward) == "1", "the other one still needs it");
    other.kill();
    check.ok(sweep(), "sweep");
    check.that(value(kForward) == "0", "nobody does");
    std::filesystem::remove_all(elsewhere);
  });
}

TEST(Instance, avoids_what_is_taken) {
  run_with_records([](Checks& check) {
    const auto before = Instance::preview();
    if (!check.ok(before, "preview")) return;
    check.that(before->marks.mask == 0xff00'0000 && before->first_priority == 100, "usual");
    check.ok(add_rule({.priority = 120,
                       .mark = 0x100'0000,
                       .mask = 0xff00'0000,
                       .table = before->route_table,
                       .protocol = 3}),
             "somebody's rule");
    check.ok(
        nft_run(
            "table inet shunt-0 {\n chain a {\n  meta mark & 0xff0000 == 0x10000 drop\n }\n}\n"),
        "somebody's table");
    const auto after = Instance::create("test");
    if (!check.ok(after, "create")) return;
    const auto& allotment = after->allotment();
    check.that(allotment.marks.mask == 0x0000'ff00, fmt::format("{:#x}", allotment.marks.mask));
    check.that(allotment.route_table != before->route_table, "route table");
    check.that(allotment.first_priority + Allotment::kPriorities <= 120, "before the foreign rule");
    check.that(allotment.number == 1, "name");
  });
}

TEST(Instance, preview_is_what_create_takes) {
  run_with_records([](Checks& check) {
    OtherShunt dead;
    dead.kill();
    const auto preview = Instance::preview();
    const auto created = Instance::create("test");
    if (!check.ok(preview, "preview") || !check.ok(created, "create")) return;
    check.that(preview->marks == created->allotment().marks, "marks");
    check.that(preview->first_priority == created->allotment().first_priority, "priorities");
    check.that(preview->table_name == created->allotment().table_name, "names");
  });
}

/// As a killed one with on-exit = closed leaves it.
Result<void> leave_closed_table(const Marks& marks) {
  const std::string body = "chain a {\ntype filter hook output priority 0\n" +
                           marks.match(marks.own, "ct") + " drop\n" + marks.match(marks.egress) +
                           " return\n}";
  return nft_run(nft_table_text("shunt-0-closed", body, TableLifetime::persistent));
}

TEST(Instance, adopts_the_marks_of_a_dead_one_s_closed_table_if_told_to) {
  run_with_records([](Checks& check) {
    const Marks left = *marks_within(0x00ff'0000);
    check.ok(leave_closed_table(left), "a dead one's table");
    const auto preview = Instance::preview();
    check.that(preview && preview->marks == left, "foreseen");
    {
      const auto other = Instance::create("test");
      check.that(other && other->allotment().marks.mask == 0xff00'0000, "by itself it avoids them");
    }
    const auto heir = Instance::create("test", {}, LeftMarks::adopt);
    if (!check.ok(heir, "create")) return;
    check.that(heir->allotment().marks == left && heir->allotment().adopted_marks, "adopted");
    check.that((heir->allotment().table_mask & left.mask) == 0, "and not for tables");
    const auto second = Instance::create("test", {}, LeftMarks::adopt);
    check.that(second && (second->allotment().marks.mask & left.mask) == 0 &&
                   !second->allotment().adopted_marks,
               "by one alone");
  });
}

TEST(Instance, adopts_no_marks_that_somebody_else_uses_now) {
  run_with_records([](Checks& check) {
    const Marks left = *marks_within(0x00ff'0000);
    check.ok(leave_closed_table(left), "a dead one's table");
    check.ok(
        nft_run("table inet other {\n chain a {\n  meta mark & 0x10000 == 0x10000 drop\n }\n}\n"),
        "somebody's table");
    const auto created = Instance::create("test", {}, LeftMarks::adopt);
    check.that(created && created->allotment().marks.mask == 0xff00'0000, "others");
  });
}

TEST(Instance, forked_child_neither_keeps_nor_ends_it) {
  run_with_records([](Checks& check) {
    std::optional<Instance> instance(std::move(*Instance::create("test")));
    check.ok(instance->raise_sysctl(kForward, "1"), "raise");
    const pid_t leaver = ::fork();
    if (leaver == 0) {
      instance.reset();
      ::_exit(0);
    }
    ::waitpid(leaver, nullptr, 0);
    check.that(value(kForward) == "1" && live_instances()->size() == 1, "it still lives");
    const pid_t stayer = ::fork();
    if (stayer == 0) {
      while (true) ::pause();
    }
    instance.reset();
    check.that(live_instances()->empty() && value(kForward) == "0", "a child does not keep it");
    ::kill(stayer, SIGKILL);
    ::waitpid(stayer, nullptr, 0);
  });
}

TEST(Instance, that_is_not_admitted_leaves_no_trace) {
  run_with_records([](Checks& check) {
    const auto first = Instance::create("gateway -i lan0");
    if (!check.ok(first, "first")) return;
    const auto second = Instance::create("x", [&](const auto& running) -> Result<void> {
      check.that(running.size() == 1 && running.front().command == "gateway -i lan0", "is told");
      return Failure(make_error(Kind::conflict, "not beside it"));
    });
    check.that(!second && second.error().message == "not beside it", "refused");
    check.that(live_instances()->size() == 1, "not on record");
  });
}

}  // namespace
}  // namespace shunt
