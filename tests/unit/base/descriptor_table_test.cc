// SPDX-License-Identifier: GPL-2.0-only
#include "base/descriptor_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <functional>

#include "base/thread.h"
#include "net/unique_fd.h"

namespace shunt {
namespace {

UniqueFd any() { return UniqueFd(::eventfd(0, EFD_CLOEXEC)); }

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

/// On a thread with a table that keeps `kept`.
void elsewhere(std::vector<int> kept, const std::function<void()>& work) {
  auto thread = start_thread([&] {
    ASSERT_TRUE(DescriptorTable::leave(std::move(kept)).has_value());
    work();
  });
  ASSERT_TRUE(thread.has_value());
}

TEST(DescriptorTable, has_what_it_keeps_and_nothing_else) {
  const UniqueFd first = any();
  const UniqueFd kept = any();
  const UniqueFd last = any();
  elsewhere({kept.get()}, [&] {
    EXPECT_TRUE(is_open(STDERR_FILENO));
    EXPECT_TRUE(is_open(kept.get()));
    EXPECT_FALSE(is_open(first.get()));
    EXPECT_FALSE(is_open(last.get()));
  });
  EXPECT_TRUE(is_open(first.get()));
  EXPECT_TRUE(is_open(last.get()));
}

TEST(DescriptorTable, keeps_the_same_one_twice_and_none_that_is_not_there) {
  const UniqueFd kept = any();
  elsewhere({kept.get(), -1, kept.get()}, [&] { EXPECT_TRUE(is_open(kept.get())); });
}

TEST(DescriptorTable, a_descriptor_is_closed_in_its_own_table_alone) {
  UniqueFd here = any();
  UniqueFd there;
  const int number = here.get();
  int other_number = -1;
  elsewhere({number}, [&] {
    there = UniqueFd(::fcntl(number, F_DUPFD_CLOEXEC, 500));  // a number that is free here, too
    other_number = there.get();
    const UniqueFd moved = std::move(here);
    EXPECT_EQ(moved.get(), number);
  });
  EXPECT_TRUE(is_open(number)) << "closed by a thread that has another table";
  const UniqueFd same_number(::fcntl(number, F_DUPFD_CLOEXEC, other_number));
  ASSERT_EQ(same_number.get(), other_number);
  there.reset();
  EXPECT_TRUE(is_open(other_number)) << "of the ended thread's descriptor it had the number alone";
  ::close(number);
}

TEST(DescriptorTable, an_adopted_descriptor_is_closed_by_the_thread_that_has_it) {
  UniqueFd listener = any();
  const int number = listener.get();
  elsewhere({number}, [&] {
    listener.adopt();
    listener.reset();
    EXPECT_FALSE(is_open(number));
  });
  EXPECT_TRUE(is_open(number));
  ::close(number);
}

TEST(DescriptorTable, a_thread_shares_that_of_the_one_that_started_it) {
  elsewhere({}, [] {
    UniqueFd made;
    {
      auto thread = start_thread([&made] { made = any(); });
      ASSERT_TRUE(thread.has_value());
    }
    const int number = made.get();
    EXPECT_TRUE(is_open(number));
    made.reset();
    EXPECT_FALSE(is_open(number));
  });
}

}  // namespace
}  // namespace shunt
