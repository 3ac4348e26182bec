// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/record.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "kernel/state_lock.h"
#include "takeover.h"

namespace shunt {
namespace {

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

TEST(Record, takes_its_control_socket_along) {
  std::string folder = testing::TempDir() + "record.XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const std::string record = record_path(folder, 3);
  const std::string others[] = {control_socket_path(folder, 3), control_socket_path(folder, 30)};
  for (const std::string& path : {record, others[0], others[1]}) std::ofstream(path) << "x";
  remove_record(record);
  EXPECT_FALSE(std::filesystem::exists(record));
  EXPECT_FALSE(std::filesystem::exists(others[0]));
  EXPECT_TRUE(std::filesystem::exists(others[1]));
  std::filesystem::remove_all(folder);
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
