// SPDX-License-Identifier: GPL-2.0-only
#include "dns/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/counters.h"
#include "base/limits.h"

namespace shunt::dns {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

Address address(std::string_view text) { return *Address::parse(text); }

const Address kClient = address("192.168.1.2");
const Address kOther = address("192.168.1.3");
const Address kTrusted = address("192.0.2.53");
const Address kRogue = address("198.51.100.66");
const Address kTarget = address("203.0.113.7");
const Memory::Clock::time_point kNow = Memory::Clock::now();

Message answer(const std::string& name, const Address& to = kTarget, std::uint32_t ttl_s = 600) {
  Message message;
  message.response = true;
  message.question = {.name = name, .type = to.is_v4() ? type::kA : type::kAaaa};
  message.answers = {{.owner = name, .type = message.question.type, .ttl_s = ttl_s, .address = to}};
  return message;
}

Memory::Name tied(std::string name) { return {.name = std::move(name), .tied = true}; }
Memory::Name told(std::string name) { return {.name = std::move(name), .tied = false}; }

TEST(DnsMemory, answer_names_its_address_for_the_client_that_got_it) {
  Memory memory({kTrusted});
  memory.learn(kClient, kRogue, answer("a.example"), kNow);
  EXPECT_THAT(memory.names_of(kClient, kTarget, kNow), ElementsAre(told("a.example")));
  EXPECT_THAT(memory.names_of(kOther, kTarget, kNow), IsEmpty());
  EXPECT_THAT(memory.names_of(kClient, address("203.0.113.8"), kNow), IsEmpty());
  EXPECT_FALSE(memory.ties("a.example", kTarget, kNow));
}

TEST(DnsMemory, loopback_is_one_client) {
  Memory memory;
  memory.learn(address("127.0.0.1"), address("127.0.0.53"), answer("a.example"), kNow);
  EXPECT_THAT(memory.names_of(address("::1"), kTarget, kNow), ElementsAre(told("a.example")));
  EXPECT_THAT(memory.names_of(kClient, kTarget, kNow), IsEmpty());
}

TEST(DnsMemory, trusted_answer_ties_the_name_for_everybody) {
  Memory memory({kTrusted});
  memory.learn(kClient, kTrusted, answer("a.example"), kNow);
  EXPECT_THAT(memory.names_of(kClient, kTarget, kNow), ElementsAre(tied("a.example")));
  EXPECT_THAT(memory.names_of(kOther, kTarget, kNow), ElementsAre(tied("a.example")));
  EXPECT_TRUE(memory.ties("a.example", kTarget, kNow));
  EXPECT_FALSE(memory.ties("b.example", kTarget, kNow));
  EXPECT_FALSE(memory.ties("a.example", kOther, kNow));
}

TEST(DnsMemory, nobody_is_trusted_by_default) {
  Memory memory;
  memory.learn(kClient, kTrusted, answer("a.example"), kNow);
  EXPECT_THAT(memory.names_of(kClient, kTarget, kNow), ElementsAre(told("a.example")));
  EXPECT_FALSE(memory.ties("a.example", kTarget, kNow));
}

TEST(DnsMemory, rogue_answer_neither_makes_a_tie_nor_prolongs_one) {
  Memory memory({kTrusted});
  memory.learn(kClient, kTrusted, answer("a.example"), kNow);
  memory.learn(kClient, kRogue, answer("a.example", kTarget, 80'000), kNow);
  memory.learn(kClient, kRogue, answer("b.example"), kNow);
  EXPECT_THAT(memory.names_of(kClient, kTarget, kNow),
              ElementsAre(told("b.example"), tied("a.example")));
  EXPECT_THAT(memory.names_of(kClient, kTarget, kNow + 601s), ElementsAre(told("a.example")));
  EXPECT_FALSE(memory.ties("a.example", kTarget, kNow + 601s));
}

TEST(DnsMemory, address_behind_aliases_has_the_name_that_was_asked_for) {
  Memory memory;
  Message message = answer("www.example");
  message.answers = {
      {.owner = "www.example", .type = type::kCname, .ttl_s = 600, .target = "cdn.example"},
      {.owner = "cdn.example", .type = type::kA, .ttl_s = 600, .address = kTarget},
      {.owner = "other.example", .type = type::kA, .ttl_s = 600, .address = kOther}};
  memory.learn(kClient, kRogue, message, kNow);
  EXPECT_THAT(memory.names_of(kClient, kTarget, kNow), ElementsAre(told("www.example")));
  EXPECT_THAT(memory.names_of(kClient, kOther, kNow), IsEmpty());
}

TEST(DnsMemory, answer_counts_for_its_ttl_within_bounds) {
  Memory memory;
  memory.learn(kClient, kRogue, answer("short.example", kTarget, 0), kNow);
  memory.learn(kClient, kRogue, answer("long.example", kOther, UINT32_MAX), kNow);
  const auto least = std::chrono::seconds(limits::kDnsMemoryLeastS);
  const auto most = std::chrono::seconds(limits::kDnsMemoryMostS);
  EXPECT_THAT(memory.names_of(kClient, kTarget, kNow + least - 1s),
              ElementsAre(told("short.example")));
  EXPECT_THAT(memory.names_of(kClient, kTarget, kNow + least), IsEmpty());
  EXPECT_THAT(memory.names_of(kClient, kOther, kNow + most - 1s),
              ElementsAre(told("long.example")));
  EXPECT_THAT(memory.names_of(kClient, kOther, kNow + most), IsEmpty());
}

TEST(DnsMemory, what_is_no_answer_about_a_host_teaches_nothing) {
  Memory memory;
  Message query = answer("a.example");
  query.response = false;
  memory.learn(kClient, kRogue, query, kNow);
  for (const char* name :
       {"", "a\\046b.example", "a b.example", "192.0.2.1", "h\\195\\164.example"}) {
    memory.learn(kClient, kRogue, answer(name), kNow);
  }
  EXPECT_THAT(memory.names_of(kClient, kTarget, kNow), IsEmpty());
}

TEST(DnsMemory, newest_names_of_an_address_stay) {
  Memory memory;
  const auto before = counted(Counter::dns_memory_evicted);
  for (const char* name : {"1.example", "2.example", "3.example", "4.example", "1.example"}) {
    memory.learn(kClient, kRogue, answer(name), kNow);
  }
  EXPECT_EQ(counted(Counter::dns_memory_evicted), before);
  memory.learn(kClient, kRogue, answer("5.example"), kNow);
  EXPECT_THAT(
      memory.names_of(kClient, kTarget, kNow),
      ElementsAre(told("5.example"), told("1.example"), told("4.example"), told("3.example")));
  EXPECT_EQ(counted(Counter::dns_memory_evicted), before + 1);
}

Address numbered(std::uint32_t number) {
  in_addr raw{.s_addr = htonl(0x0a000000 + number)};
  return Address(raw);
}

TEST(DnsMemory, client_that_asks_much_displaces_its_own_only) {
  Memory memory;
  memory.learn(kOther, kRogue, answer("a.example"), kNow);
  const auto most = static_cast<std::uint32_t>(limits::kDnsMemoryAddresses);
  for (std::uint32_t i = 0; i <= most; ++i) {
    memory.learn(kClient, kRogue, answer("n.example", numbered(i)), kNow);
  }
  EXPECT_THAT(memory.names_of(kClient, numbered(0), kNow), IsEmpty());
  EXPECT_THAT(memory.names_of(kClient, numbered(1), kNow), ElementsAre(told("n.example")));
  EXPECT_THAT(memory.names_of(kOther, kTarget, kNow), ElementsAre(told("a.example")));
}

TEST(DnsMemory, only_so_many_clients_and_trusted_addresses_are_kept) {
  Memory memory({kTrusted});
  std::size_t clients = 0;
  std::size_t addresses = 0;
  constexpr std::uint32_t kMany = 2 * limits::kDnsMemoryTrusted;
  for (std::uint32_t i = 0; i < kMany; ++i) {
    memory.learn(numbered(i), kTrusted, answer("n.example", numbered(i)), kNow);
  }
  for (std::uint32_t i = 0; i < kMany; ++i) {
    addresses += memory.ties("n.example", numbered(i), kNow) ? 1 : 0;
  }
  EXPECT_LE(addresses, limits::kDnsMemoryTrusted);
  EXPECT_GE(addresses, limits::kDnsMemoryTrusted / 2);
  Memory untrusting;
  for (std::uint32_t i = 0; i < 2 * limits::kDnsMemoryClients; ++i) {
    untrusting.learn(numbered(i), kRogue, answer("n.example"), kNow);
  }
  for (std::uint32_t i = 0; i < 2 * limits::kDnsMemoryClients; ++i) {
    clients += untrusting.names_of(numbered(i), kTarget, kNow).size();
  }
  EXPECT_LE(clients, limits::kDnsMemoryClients);
  EXPECT_GE(clients, limits::kDnsMemoryClients / 2);
}

TEST(DnsMemory, threads_share_it) {
  Memory memory({kTrusted});
  std::vector<std::jthread> threads;
  for (std::uint32_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&memory, thread] {
      for (std::uint32_t i = 0; i < 2000; ++i) {
        memory.learn(numbered(thread), kTrusted, answer("n.example", numbered(i % 50)), kNow);
        (void)memory.names_of(numbered(i % 4), numbered(i % 50), kNow);
        (void)memory.ties("n.example", numbered(i % 50), kNow);
      }
    });
  }
  threads.clear();
  EXPECT_TRUE(memory.ties("n.example", numbered(49), kNow));
}

}  // namespace
}  // namespace shunt::dns
