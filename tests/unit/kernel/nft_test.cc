// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/nft.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "in_namespace.h"

namespace shunt {
namespace {

constexpr std::string_view kBody =
    "  chain pre {\n"
    "    type filter hook prerouting priority mangle\n"
    "    meta l4proto { tcp, udp } tproxy to :15001 accept\n"
    "  }\n";

bool exists(std::string_view name) {
  const auto tables = list_nft_tables();
  return tables && std::ranges::any_of(*tables, [&](const NftTableInfo& table) {
           return table.name == name && table.family_name() == "inet";
         });
}

/// A child that runs `work`, reports ready and then sleeps until it is killed.
pid_t start_child(const std::function<void()>& work) {
  std::array<int, 2> ends;
  if (::pipe(ends.data()) != 0) return -1;
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    static_cast<void>(::write(ends[1], "r", 1));
    while (true) ::pause();
  }
  ::close(ends[1]);
  char byte;
  static_cast<void>(::read(ends[0], &byte, 1));
  ::close(ends[0]);
  return child;
}

void kill_and_reap(pid_t child) {
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST(NftTable, text_is_what_is_loaded) {
  EXPECT_EQ(nft_table_text("x", "  chain a {\n  }", TableLifetime::owned),
            "table inet x {\n  flags owner\n  chain a {\n  }\n}\n");
  EXPECT_EQ(nft_table_text("x", "", TableLifetime::persistent), "table inet x {\n}\n");
}

TEST(NftTable, lives_as_long_as_its_owner) {
  run_in_test_namespace([](Checks& check) {
    {
      const auto table = NftTable::create("shunt-t", kBody);
      if (!check.ok(table, "create")) return;
      const auto tables = list_nft_tables();
      check.that(tables && tables->size() == 1 && tables->front().has_owner, "owned");
      auto context = NftContext::create();
      const auto listing = context->run("list table inet shunt-t\n");
      check.that(listing && listing->contains("tproxy to :15001"), "the chains are there");
    }
    check.that(!exists("shunt-t"), "deleted by the destructor");
  });
}

TEST(NftTable, foreign_flush_leaves_it_alone) {
  run_in_test_namespace([](Checks& check) {
    const auto table = NftTable::create("shunt-t", kBody);
    if (!check.ok(table, "create")) return;
    static_cast<void>(nft_run("flush ruleset\n"));
    check.that(exists("shunt-t"), "still there");
    const auto removed = delete_nft_table("shunt-t");
    check.that(!removed && removed.error().kind == Kind::privilege, "not ours to delete");
  });
}

TEST(NftTable, second_of_the_name_is_a_conflict) {
  run_in_test_namespace([](Checks& check) {
    check.ok(nft_run("table inet shunt-t {\n}\n"), "foreign table");
    const auto table = NftTable::create("shunt-t", kBody);
    check.that(!table && table.error().kind == Kind::conflict, "conflict");
    check.that(exists("shunt-t"), "the foreign one was left alone");
  });
}

TEST(NftTable, error_names_the_offending_line_and_leaves_nothing) {
  run_in_test_namespace([](Checks& check) {
    const auto table =
        NftTable::create("shunt-t", "  chain a {\n    ip daddr 1.2.3.4.5 drop\n  }\n");
    check.that(!table && table.error().message.contains("in: ip daddr 1.2.3.4.5 drop"),
               table ? "no error" : table.error().message);
    check.that(!exists("shunt-t"), "nothing left");
  });
}

TEST(NftTable, owner_adds_to_it_later) {
  run_in_test_namespace([](Checks& check) {
    auto table = NftTable::create("shunt-t", "  set s {\n    type ipv4_addr\n  }\n");
    if (!check.ok(table, "create")) return;
    check.ok(table->run("add element inet shunt-t s { 192.0.2.1 }\n"), "add");
    const auto listing = table->run("list set inet shunt-t s\n");
    check.that(listing && listing->contains("192.0.2.1"), "added");
  });
}

TEST(NftTable, is_gone_when_its_owner_is_killed) {
  run_in_test_namespace([](Checks& check) {
    const pid_t owner = start_child([] {
      static auto table = NftTable::create("shunt-t", kBody);
      static auto closed = NftTable::create("shunt-c", "", TableLifetime::persistent);
    });
    check.that(exists("shunt-t") && exists("shunt-c"), "there");
    kill_and_reap(owner);
    check.that(!exists("shunt-t"), "the owned one is gone");
    check.that(exists("shunt-c"), "the persistent one stays");
    check.ok(delete_nft_table("shunt-c"), "delete");
    check.ok(delete_nft_table("shunt-c"), "delete again");
    check.that(!exists("shunt-c"), "deleted");
  });
}

TEST(NftTable, forked_child_neither_keeps_nor_deletes_it) {
  run_in_test_namespace([](Checks& check) {
    pid_t bystander = -1;
    {
      auto table = NftTable::create("shunt-t", kBody);
      if (!check.ok(table, "create")) return;
      const pid_t leaver = ::fork();
      if (leaver == 0) {
        {
          const NftTable taken = std::move(*table);
        }
        ::_exit(0);
      }
      ::waitpid(leaver, nullptr, 0);
      check.that(exists("shunt-t"), "a child's destructor does nothing");
      bystander = start_child([] {});
      check.ok(table->remove(), "remove");
    }
    check.that(!exists("shunt-t"), "a living child does not keep it");
    kill_and_reap(bystander);
  });
}

TEST(NftContext, check_commits_nothing) {
  run_in_test_namespace([](Checks& check) {
    check.ok(nft_check(nft_table_text("shunt-t", kBody, TableLifetime::owned)), "check");
    check.that(!exists("shunt-t"), "nothing committed");
    check.that(!nft_check("table inet x {\n  bogus\n}\n"), "bad text is refused");
  });
}

TEST(NftContext, closes_every_descriptor_it_opened) {
  run_in_test_namespace([](Checks& check) {
    const int before = ::dup(0);
    ::close(before);
    for (int round = 0; round < 3; ++round) check.ok(nft_run("table inet x {\n}\n"), "run");
    const int after = ::dup(0);
    check.that(before == after, "descriptors leaked");
  });
}

}  // namespace
}  // namespace shunt
