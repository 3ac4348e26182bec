// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_tap.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "dns/limits.h"
#include "dns/message.h"

namespace shunt {
namespace {

const Address kResolver = *Address::parse("192.0.2.53");
const Address kTarget = *Address::parse("203.0.113.7");

class Inner : public Tap {
 public:
  void observe(Side /*side*/, std::string_view bytes) override { seen += bytes; }
  void skip(Side /*side*/, std::uint64_t count) override { skipped += count; }
  [[nodiscard]] std::uint64_t uninteresting(Side /*side*/) const override { return 7; }
  void end(Side /*side*/) override { ++ended; }
  void finish() override { ++finished; }
  [[nodiscard]] bool objects() const override { return true; }
  std::string seen;
  std::uint64_t skipped = 0;
  int ended = 0;
  int finished = 0;
};

Flow flow() {
  Flow flow;
  flow.source = *Endpoint::parse("192.168.1.2:4000");
  flow.original_destination = {.address = kResolver, .port = dns::kPort};
  return flow;
}

std::string query(std::uint16_t id, const std::string& name) {
  return *dns::make_query(id, {.name = name, .type = dns::type::kA}, 0);
}

std::string answer(std::uint16_t id, const std::string& name) {
  const std::string bytes = query(id, name);
  const auto parsed = dns::parse(bytes);
  const std::vector<dns::Record> records = {
      {.owner = name, .type = dns::type::kA, .ttl_s = 60, .address = kTarget}};
  return dns::make_answer(bytes, *parsed, dns::Rcode::no_error, records);
}

class DnsTapTest : public testing::Test {
 protected:
  bool knows(const std::string& name) { return memory_.ties(name, kTarget); }
  dns::Memory memory_{{kResolver}};
  std::unique_ptr<Tap> tap_ = make_dns_tap(memory_, flow(), nullptr);
};

TEST_F(DnsTapTest, answers_are_remembered_however_the_stream_is_cut) {
  const std::string up = dns::framed(query(1, "a.example")) + dns::framed(query(2, "b.example"));
  const std::string down = dns::framed(answer(2, "b.example")) +
                           dns::framed(answer(9, "c.example")) +
                           dns::framed(answer(1, "a.example"));
  for (const char byte : up) tap_->observe(Side::client, {&byte, 1});
  for (const char byte : down) tap_->observe(Side::upstream, {&byte, 1});
  EXPECT_TRUE(knows("a.example") && knows("b.example"));
  EXPECT_FALSE(knows("c.example"));  // nobody asked for it
}

TEST_F(DnsTapTest, long_messages_pass_unseen_and_the_next_one_counts) {
  tap_->observe(Side::client, dns::framed(query(1, "a.example")));
  const std::string long_one = dns::framed(std::string(limits::kDnsSeenBytes + 1, 'x'));
  const std::string stream = long_one + dns::framed(answer(1, "a.example"));
  for (std::size_t at = 0; at < stream.size(); at += 1000) {
    tap_->observe(Side::upstream, std::string_view(stream).substr(at, 1000));
  }
  EXPECT_TRUE(knows("a.example"));
}

TEST_F(DnsTapTest, what_is_no_dns_ends_the_looking) {
  EXPECT_EQ(tap_->uninteresting(Side::upstream), 0U);
  tap_->observe(Side::client, std::string_view("\0\x03GET", 5));
  EXPECT_EQ(tap_->uninteresting(Side::client), Tap::kEverything);
  EXPECT_EQ(tap_->uninteresting(Side::upstream), Tap::kEverything);
}

TEST_F(DnsTapTest, a_tap_behind_it_sees_all_and_may_object) {
  auto inner = std::make_unique<Inner>();
  Inner& behind = *inner;
  tap_ = make_dns_tap(memory_, flow(), std::move(inner));
  const std::string bytes = dns::framed(query(1, "a.example"));
  tap_->observe(Side::client, bytes);
  EXPECT_EQ(behind.seen, bytes);
  EXPECT_TRUE(tap_->objects());
  EXPECT_EQ(tap_->uninteresting(Side::client), 0U);
  tap_->observe(Side::client, std::string_view("\0\0", 2));
  EXPECT_EQ(tap_->uninteresting(Side::client), 7U);
  tap_->skip(Side::client, 5);
  tap_->end(Side::client);
  tap_->finish();
  EXPECT_EQ(behind.skipped, 5U);
  EXPECT_EQ(behind.ended + behind.finished, 2);
}

}  // namespace
}  // namespace shunt
