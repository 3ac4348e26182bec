// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/instance.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "in_namespace.h"
#include "kernel/links.h"
#include "kernel/nft.h"
#include "kernel/policy_route.h"
#include "kernel/record.h"
#include "kernel/state_lock.h"
#include "kernel/sysctl.h"
#include "kernel/text_file.h"
#include "kernel/tun.h"

namespace shunt {
namespace {

constexpr std::string_view kForward = "net/ipv4/ip_forward";

std::string value(std::string_view path) { return read_sysctl(path).value_or("?"); }

/// A RUN folder of its own for each test, in the child that runs the test.
std::string fresh_run_directory() {
  std::string name = testing::TempDir() + "shunt-run-XXXXXX";
  static_cast<void>(::mkdtemp(name.data()));
  ::setenv("SHUNT_RUN_DIR", name.c_str(), 1);
  return name;
}

void run_with_records(const std::function<void(Checks&)>& body) {
  run_in_test_namespace([&](Checks& check) {
    const auto run = fresh_run_directory();
    check.ok(set_link_up("lo"), "lo up");
    body(check);
    std::filesystem::remove_all(run);
  });
}

/// What a gateway puts into the kernel, with routes through "lo" so that no TUN is needed.
struct Takeover {
  Instance instance;
  std::vector<PolicyRoute> routes;
  std::vector<PolicyRule> rules;
  std::vector<NftTable> tables;
};

RouteSpec route_of(const Allotment& allotment, std::string interface) {
  return {
      .type = RouteType::local, .table = allotment.route_table, .interface = std::move(interface)};
}

RuleSpec rule_of(const Allotment& allotment) {
  return {.priority = allotment.first_priority,
          .mark = allotment.marks.own,
          .mask = allotment.marks.mask,
          .in_interface = "lo",
          .table = allotment.route_table};
}

Result<Takeover> take_over(std::string interface = "lo", bool closed = false) {
  Takeover takeover{
      .instance = SHUNT_TRY(Instance::create("test")), .routes = {}, .rules = {}, .tables = {}};
  const Allotment& allotment = takeover.instance.allotment();
  SHUNT_CHECK(takeover.instance.raise_sysctl(kForward, "1"));
  takeover.tables.push_back(SHUNT_TRY(NftTable::create(allotment.table_name, "")));
  if (closed) {
    takeover.tables.push_back(
        SHUNT_TRY(NftTable::create(allotment.closed_table_name, "", TableLifetime::persistent)));
  }
  takeover.routes.push_back(
      SHUNT_TRY(PolicyRoute::create(route_of(allotment, std::move(interface)))));
  takeover.rules.push_back(SHUNT_TRY(PolicyRule::create(rule_of(allotment))));
  return takeover;
}

/// A process that holds a takeover until it is killed.
class OtherShunt {
 public:
  explicit OtherShunt(bool with_tun = false, bool closed = false) {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      static std::optional<TunDevice> tun;
      if (with_tun) tun.emplace(std::move(*TunDevice::create()));
      static auto takeover = take_over(with_tun ? tun->name() : "lo", closed);
      const char answer = takeover ? '+' : '-';
      static_cast<void>(::write(ends[1], &answer, 1));
      while (true) ::pause();
    }
    ::close(ends[1]);
    char answer = '-';
    static_cast<void>(::read(ends[0], &answer, 1));
    ready_ = answer == '+';
    ::close(ends[0]);
  }
  ~OtherShunt() { kill(); }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

std::size_t tagged_rules() {
  const auto rules = list_rules(Family::ipv4).value_or(std::vector<RuleSpec>{});
  return static_cast<std::size_t>(std::ranges::count(rules, kRouteProtocol, &RuleSpec::protocol));
}

std::size_t tagged_routes() {
  return list_routes(Family::ipv4, 0, kRouteProtocol).value_or(std::vector<RouteSpec>{}).size();
}

bool table_exists(std::string_view name) {
  const auto tables = list_nft_tables();
  return tables && std::ranges::find(*tables, name, &NftTableInfo::name) != tables->end();
}

TEST(Record, survives_the_file) {
  LiveInstance instance{.pid = 7, .command = "gateway\n-i x=y"};
  instance.allotment.marks = *choose_marks(0);
  instance.allotment.table_name = "shunt-0";
  const auto decoded = decode_record(encode_record(instance));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->command, "gateway -i x=y");
  EXPECT_EQ(decoded->allotment.marks, instance.allotment.marks);
  EXPECT_EQ(decoded->allotment.table_name, "shunt-0");
}

TEST(Record, that_is_unfinished_is_none) {
  EXPECT_FALSE(decode_record("pid=7\ncommand=x\n").has_value());
  EXPECT_FALSE(decode_record("").has_value());
}

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

TEST(Instance, that_was_killed_leaves_only_the_inert_rule) {
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

TEST(Instance, killed_at_any_moment_leaves_what_a_sweep_removes) {
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

TEST(Instance, start_sweeps_the_dead_and_spares_the_living) {
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

TEST(Instance, spares_one_whose_record_it_cannot_see) {
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

TEST(Instance, removes_a_dead_one_s_closed_table_only_when_asked) {
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

TEST(Instance, down_removes_a_dead_one_s_closed_table_and_no_foreign_one) {
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

TEST(Instance, sweep_leaves_foreign_rules_and_a_user_s_routes_alone) {
  run_with_records([](Checks& check) {
    check.ok(add_rule({.priority = 10, .mark = 1, .mask = 1, .table = 300, .protocol = 3}), "rule");
    check.ok(add_rule({.priority = 11, .mark = 2, .mask = 2, .table = 301}), "tagged, in use");
    check.ok(add_route({.type = RouteType::local, .table = 301, .interface = "lo", .protocol = 4}),
             "a user's route");
    const auto report = sweep();
    check.that(report && report->removed.empty(), "nothing removed");
    check.that(list_rules(Family::ipv4)->size() == 5, "all there");
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

TEST(Instance, spares_everything_while_a_record_is_unreadable) {
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

TEST(RunDirectory, of_somebody_else_is_refused) {
  const std::string run = testing::TempDir() + "shunt-open-run";
  ::mkdir(run.c_str(), 0777);
  ::chmod(run.c_str(), 0777);
  ::setenv("SHUNT_RUN_DIR", run.c_str(), 1);
  const auto directory = run_directory();
  EXPECT_FALSE(directory.has_value());
  EXPECT_EQ(existing_run_directory(), "");
  ::unsetenv("SHUNT_RUN_DIR");
  ::rmdir(run.c_str());
}

TEST(RunDirectory, keeps_what_is_not_a_record) {
  run_with_records([](Checks& check) {
    const std::string run = ::getenv("SHUNT_RUN_DIR");
    std::filesystem::create_directory(run + "/photos");
    std::filesystem::create_directory(run + "/deadbeef-net1");
    check.ok(sweep(), "sweep");
    check.that(std::filesystem::exists(run + "/photos"), "kept");
    check.that(!std::filesystem::exists(run + "/deadbeef-net1"), "of an earlier boot: removed");
  });
}

}  // namespace
}  // namespace shunt
