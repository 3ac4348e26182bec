// SPDX-License-Identifier: GPL-2.0-only
#include "base/error_record.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace shunt {
namespace {

TEST(ErrorRecord, brings_every_field_across) {
  Error error = make_error(Kind::unsupported, 12, "no user namespace", "sysctl -w x=1");
  error.os_error = ENOSPC;
  error.place = "  --> file:1";
  const Error back = error_from_record(error_record(error));
  EXPECT_EQ(back.kind, Kind::unsupported);
  EXPECT_EQ(back.os_error, ENOSPC);
  EXPECT_EQ(back.number, 12);
  EXPECT_EQ(back.message, "no user namespace");
  EXPECT_EQ(back.help, "sysctl -w x=1");
  EXPECT_EQ(back.place, "  --> file:1");
}

TEST(ErrorRecord, keeps_the_line_breaks_of_nft_messages) {
  const Error error = make_error(Kind::runtime, "nft: line 1\n  ^^^", "");
  EXPECT_EQ(error_from_record(error_record(error)).message, "nft: line 1\n  ^^^");
}

TEST(ErrorRecord, is_bounded) {
  Error error = make_error(Kind::runtime, std::string(100'000, 'x'), std::string(100'000, 'y'));
  error.place = std::string(100'000, 'z');
  EXPECT_LE(error_record(error).size(), kErrorRecordBytes);
}

TEST(ErrorRecord, takes_rubbish_without_harm) {
  EXPECT_EQ(error_from_record("").kind, Kind::runtime);
  EXPECT_EQ(error_from_record("99").kind, Kind::runtime);
  EXPECT_EQ(error_from_record("x\0y\0z").message, "");
}

}  // namespace
}  // namespace shunt
