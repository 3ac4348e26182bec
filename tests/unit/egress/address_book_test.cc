// SPDX-License-Identifier: GPL-2.0-only
#include "egress/address_book.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "unit/support/no_threads.h"

namespace shunt {
namespace {

const Endpoint kOld{*Address::parse("192.0.2.1"), 1080};
const Endpoint kNew{*Address::parse("192.0.2.2"), 1080};

std::atomic<int> asked;

Result<std::vector<Endpoint>> moved(const std::string& host, std::uint16_t port) {
  EXPECT_EQ(host, "proxy.shunt.example");
  EXPECT_EQ(port, 1080);
  ++asked;
  return std::vector{kNew};
}

Result<std::vector<Endpoint>> gone(const std::string&, std::uint16_t) {
  ++asked;
  return Failure(make_error(Kind::runtime, "no such name"));
}

bool wait_until(auto&& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

TEST(AddressBook, a_new_look_finds_where_the_name_has_gone) {
  asked = 0;
  const AddressBook book("proxy.shunt.example", 1080, {kOld}, moved);
  const auto before = book.current();
  EXPECT_EQ(before->front(), kOld);
  book.look_again();
  EXPECT_TRUE(wait_until([&] { return book.current()->front() == kNew; }));
  EXPECT_EQ(before->front(), kOld);  // whoever holds the old ones keeps them
}

TEST(AddressBook, without_a_thread_the_addresses_stay_and_the_next_look_is_made) {
  asked = 0;
  const AddressBook book("proxy.shunt.example", 1080, {kOld}, moved);
  {
    const test::NoThreads none;
    book.look_again();
    EXPECT_FALSE(book.looking());
  }
  EXPECT_EQ(asked, 0);
  book.look_again();
  EXPECT_TRUE(wait_until([&] { return book.current()->front() == kNew; }));
}

TEST(AddressBook, names_are_not_asked_for_again_and_again) {
  asked = 0;
  const AddressBook book("proxy.shunt.example", 1080, {kOld}, moved);
  book.look_again();
  EXPECT_TRUE(wait_until([&] { return !book.looking(); }));
  for (int i = 0; i < 100; ++i) {
    book.look_again();
    EXPECT_FALSE(book.looking());
  }
  EXPECT_EQ(asked, 1);
}

TEST(AddressBook, a_failed_look_changes_nothing) {
  asked = 0;
  const AddressBook book("proxy.shunt.example", 1080, {kOld}, gone);
  book.look_again();
  EXPECT_TRUE(wait_until([&] { return !book.looking(); }));
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(book.current()->front(), kOld);
}

TEST(AddressBook, an_address_is_never_looked_up) {
  asked = 0;
  for (const char* host : {"192.0.2.1", "2001:db8::1", "fe80::1%lo"}) {
    const AddressBook book(host, 1080, {kOld}, gone);
    book.look_again();
  }
  EXPECT_EQ(asked, 0);
}

}  // namespace
}  // namespace shunt
