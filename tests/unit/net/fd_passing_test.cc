// SPDX-License-Identifier: GPL-2.0-only
#include "net/fd_passing.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace shunt {
namespace {

std::pair<UniqueFd, UniqueFd> channel() {
  auto made = make_record_channel();
  EXPECT_TRUE(made.has_value());
  return std::move(*made);
}

bool same_file(int a, int b) {
  struct stat first{};
  struct stat second{};
  return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_ino == second.st_ino;
}

TEST(FdPassing, hands_descriptors_over_with_their_bytes) {
  auto [left, right] = channel();
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  const int fds[] = {reader.get(), writer.get()};
  ASSERT_TRUE(send_record(left.get(), "hello", fds));
  auto record = receive_record(right.get());
  ASSERT_TRUE(record);
  EXPECT_EQ(record->bytes, "hello");
  ASSERT_EQ(record->fds.size(), 2U);
  EXPECT_TRUE(same_file(record->fds[0].get(), reader.get()));
  EXPECT_EQ(::fcntl(record->fds[1].get(), F_GETFD), FD_CLOEXEC);
}

TEST(FdPassing, keeps_records_apart) {
  auto [left, right] = channel();
  ASSERT_TRUE(send_record(left.get(), "one"));
  ASSERT_TRUE(send_record(left.get(), "two"));
  EXPECT_EQ(receive_record(right.get())->bytes, "one");
  EXPECT_EQ(receive_record(right.get())->bytes, "two");
}

TEST(FdPassing, a_closed_other_end_is_an_empty_record) {
  auto [left, right] = channel();
  left.reset();
  const auto record = receive_record(right.get());
  ASSERT_TRUE(record);
  EXPECT_TRUE(record->bytes.empty());
  EXPECT_FALSE(send_record(right.get(), "x"));  // and no SIGPIPE
}

TEST(FdPassing, refuses_what_the_kernel_would_refuse) {
  auto [left, right] = channel();
  const std::vector<int> too_many(kMaxPassedFds + 1, 0);
  EXPECT_FALSE(send_record(left.get(), "x", too_many));
  EXPECT_FALSE(send_record(left.get(), ""));
  EXPECT_FALSE(send_record(left.get(), std::string(kMaxPassedBytes + 1, 'x')));
}

}  // namespace
}  // namespace shunt
