// SPDX-License-Identifier: GPL-2.0-only
#include "capture/preload_request.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace shunt {
namespace {

shunt_preload_request plain() {
  shunt_preload_request raw{};
  raw.version = SHUNT_PRELOAD_VERSION;
  raw.kind = SHUNT_PRELOAD_CONNECT;
  return raw;
}

std::string bytes_of(const shunt_preload_request& raw) {
  return {reinterpret_cast<const char*>(&raw), sizeof raw};
}

TEST(PreloadRequest, CarriesWhatTheProgramSaid) {
  auto raw = plain();
  raw.token[0] = 7;
  raw.address.ss_family = AF_INET;
  raw.address_size = 16;
  const auto request = parse_preload_request(bytes_of(raw));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->kind, SHUNT_PRELOAD_CONNECT);
  EXPECT_EQ(request->token[0], 7);
  EXPECT_EQ(request->address.ss_family, AF_INET);
  EXPECT_EQ(request->address_size, 16u);
}

TEST(PreloadRequest, OtherVersionsKindsAndSizesAreNone) {
  auto raw = plain();
  raw.version = SHUNT_PRELOAD_VERSION + 1;
  EXPECT_FALSE(parse_preload_request(bytes_of(raw)));
  raw = plain();
  raw.kind = SHUNT_PRELOAD_LAST_KIND + 1;
  EXPECT_FALSE(parse_preload_request(bytes_of(raw)));
  raw.kind = 0;
  EXPECT_FALSE(parse_preload_request(bytes_of(raw)));
  raw = plain();
  raw.address_size = sizeof raw.address + 1;
  EXPECT_FALSE(parse_preload_request(bytes_of(raw)));
  raw = plain();
  EXPECT_FALSE(parse_preload_request(bytes_of(raw) + "x"));
  EXPECT_FALSE(parse_preload_request(bytes_of(raw).substr(1)));
  EXPECT_TRUE(parse_preload_request(bytes_of(raw)));
}

TEST(PreloadRequest, TokensDifferInAnyByte) {
  PreloadToken one{};
  PreloadToken other{};
  EXPECT_TRUE(same_token(one, other));
  other.back() = 1;
  EXPECT_FALSE(same_token(one, other));
  EXPECT_EQ(token_text(other), "00000000000000000000000000000001");
}

}  // namespace
}  // namespace shunt
