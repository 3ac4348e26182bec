// SPDX-License-Identifier: GPL-2.0-only
#include "dns/fake_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace shunt {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::Pair;

constexpr const char* kRanges = "198.18.0.0/15";
constexpr const char* kTitle = "shunt fake-ip 1 198.18.0.0/15\n";
const FakePool::Time kNow{std::chrono::hours(1)};

TEST(FakeFileText, later_lines_count) {
  const std::string text =
      std::string(kTitle) + "1 a.example\n2 b.example\n1 c.example\n3 b.example\n";
  EXPECT_THAT(parse_fake_file(text, kRanges),
              Optional(ElementsAre(Pair(1U, "c.example"), Pair(3U, "b.example"))));
}

TEST(FakeFileText, unfinished_line_is_passed_over) {
  EXPECT_THAT(parse_fake_file(std::string(kTitle) + "1 a.example\n2 b.exa", kRanges),
              Optional(ElementsAre(Pair(1U, "a.example"))));
}

TEST(FakeFileText, anything_else_is_refused) {
  for (const char* rest : {"x\n", "0 a.example\n", "1\n", "1 \n", "1  a.example\n", "1 a b\n",
                           "1 a..b\n", "-1 a.example\n", "99999999999 a.example\n", "\n"}) {
    EXPECT_EQ(parse_fake_file(std::string(kTitle) + rest, kRanges), std::nullopt) << rest;
  }
  EXPECT_EQ(parse_fake_file(std::string(kTitle) + "1 a.example\n", "198.18.0.0/16"), std::nullopt);
  EXPECT_EQ(parse_fake_file("", kRanges), std::nullopt);
  EXPECT_THAT(parse_fake_file(kTitle, kRanges), Optional(IsEmpty()));
}

TEST(FakeFileText, title_names_the_ranges) {
  const auto both = ranges_of_fake_file("shunt fake-ip 1 198.18.0.0/15 fc00::/64\n");
  ASSERT_TRUE(both && both->v6);
  EXPECT_EQ(both->v4.text() + " " + both->v6->text(), "198.18.0.0/15 fc00::/64");
  EXPECT_TRUE(ranges_of_fake_file(kTitle));
  for (const char* text : {"", "shunt fake-ip 1 198.18.0.0/15", "shunt fake-ip 2 198.18.0.0/15\n",
                           "shunt fake-ip 1 198.18.0.0/32\n", "shunt fake-ip 1 fc00::/64\n"}) {
    EXPECT_FALSE(ranges_of_fake_file(text)) << text;
  }
}

class FakeFileOnDisk : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fmt::format("{}/shunt-fake-{}", testing::TempDir(), ::getpid());
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/deep/fake-ip"; }
  std::string text() const {
    std::ostringstream all;
    all << std::ifstream(path()).rdbuf();
    return all.str();
  }
  static FakePool pool() { return FakePool(*Network::parse(kRanges)); }

  std::string folder_;
};

TEST_F(FakeFileOnDisk, remembers_what_was_given_without_an_orderly_end) {
  FakePool first = pool();
  auto file = FakeFile::open(path(), first);
  ASSERT_TRUE(file) << file.error().text();
  first.give("a.example", Family::ipv4, kNow);
  first.give("b.example", Family::ipv4, kNow);
  EXPECT_EQ(text(), std::string(kTitle) + "1 a.example\n2 b.example\n");
  file->reset();
  FakePool second = pool();
  ASSERT_TRUE(FakeFile::open(path(), second));
  EXPECT_EQ(second.name_of(*Address::parse("198.18.0.2"), kNow), "b.example");
}

TEST_F(FakeFileOnDisk, damaged_one_is_begun_anew) {
  std::filesystem::create_directories(folder_ + "/deep");
  std::ofstream(path()) << kTitle << "1 a.example\nrubbish\n";
  FakePool fresh = pool();
  testing::internal::CaptureStderr();
  ASSERT_TRUE(FakeFile::open(path(), fresh));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("damaged"), std::string::npos);
  EXPECT_EQ(fresh.size(), 0U);
  EXPECT_EQ(text(), kTitle);
}

TEST_F(FakeFileOnDisk, belongs_to_one_process_at_a_time) {
  FakePool first = pool();
  const auto file = FakeFile::open(path(), first);
  ASSERT_TRUE(file);
  FakePool second = pool();
  const auto refused = FakeFile::open(path(), second);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Kind::conflict);
}

TEST_F(FakeFileOnDisk, that_cannot_be_written_is_an_error) {
  FakePool fresh = pool();
  EXPECT_FALSE(FakeFile::open("/proc/no/such/folder/fake-ip", fresh));
}

TEST_F(FakeFileOnDisk, says_what_an_address_stands_for_while_it_is_written) {
  const Address first = *Address::parse("198.18.0.1");
  EXPECT_FALSE(look_up_fake(path(), first)->has_value());  // there is no file
  FakePool pool(*Network::parse(kRanges));
  const auto file = FakeFile::open(path(), pool);
  ASSERT_TRUE(file);
  EXPECT_EQ(look_up_fake(path(), first)->value().name, "");
  EXPECT_EQ(pool.give("a.example", Family::ipv4, kNow), first);
  EXPECT_EQ(look_up_fake(path(), first)->value().name, "a.example");
  EXPECT_FALSE(look_up_fake(path(), *Address::parse("192.0.2.1"))->has_value());
  std::ofstream(path()) << "something else\n";
  EXPECT_FALSE(look_up_fake(path(), first));
}

/// Until it goes no file grows beyond so many bytes: a full disk, for this process.
class FullDisk {
 public:
  explicit FullDisk(std::size_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
};

TEST_F(FakeFileOnDisk, a_full_disk_leaves_whole_lines_and_what_it_lost_follows) {
  FakePool first = pool();
  auto file = FakeFile::open(path(), first, {.pause_ms = 0});
  ASSERT_TRUE(file) << file.error().text();
  for (int i = 1; i <= 300; ++i) first.give(fmt::format("host{}.example", i), Family::ipv4, kNow);
  const std::string before = text();  // longer than what is said below
  testing::internal::CaptureStderr();
  {
    const FullDisk disk(before.size() + 5);  // part of a line fits
    first.give("b.example", Family::ipv4, kNow);
    first.give("c.example", Family::ipv4, kNow);
    EXPECT_EQ(text(), before);
  }
  EXPECT_NE(testing::internal::GetCapturedStderr().find("File too large"), std::string::npos);
  first.give("d.example", Family::ipv4, kNow);
  EXPECT_EQ(text(), before + "301 b.example\n302 c.example\n303 d.example\n");
  EXPECT_FALSE(std::filesystem::exists(path() + ".new"));
}

TEST_F(FakeFileOnDisk, what_a_full_disk_lost_is_written_at_an_orderly_end) {
  FakePool first = pool();
  auto file = FakeFile::open(path(), first);
  ASSERT_TRUE(file) << file.error().text();
  testing::internal::CaptureStderr();
  {
    const FullDisk disk(text().size() + 5);
    first.give("a.example", Family::ipv4, kNow);
  }
  testing::internal::GetCapturedStderr();
  file->reset();
  EXPECT_EQ(text(), std::string(kTitle) + "1 a.example\n");
}

TEST_F(FakeFileOnDisk, at_its_limit_it_is_written_anew_and_says_what_places_mean_now) {
  FakePool first(*Network::parse("198.18.0.0/29"));  // six places
  auto file =
      FakeFile::open(path(), first, {.bytes = std::string(kTitle).size() + 200, .pause_ms = 0});
  ASSERT_TRUE(file) << file.error().text();
  auto now = kNow;
  for (int i = 0; i < 100; ++i) {
    now += std::chrono::hours(1);  // so that each takes the place of another
    ASSERT_TRUE(first.give(fmt::format("host{}.example", i), Family::ipv4, now));
    const auto known = parse_fake_file(text(), "198.18.0.0/29");
    ASSERT_TRUE(known) << text();
    ASSERT_EQ(*known, first.assignments()) << i;
    ASSERT_LE(text().size(), std::string(kTitle).size() + 200);
  }
}

TEST_F(FakeFileOnDisk, threads_that_give_at_the_same_time_write_whole_lines) {
  FakePool first = pool();
  const auto file = FakeFile::open(path(), first, {.bytes = 20'000, .pause_ms = 0});
  ASSERT_TRUE(file) << file.error().text();
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&first, thread] {
        for (int i = 0; i < 200; ++i) {
          first.give(fmt::format("host{}-{}.example", thread, i), Family::ipv4, kNow);
        }
      });
    }
  }
  const auto known = parse_fake_file(text(), kRanges);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->size(), 800U);
}

}  // namespace
}  // namespace shunt
