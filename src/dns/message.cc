// SPDX-License-Identifier: GPL-2.0-only
#include "dns/message.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "dns/header_bits.h"
#include "dns/name.h"
#include "dns/records.h"

namespace shunt::dns {
namespace {

constexpr std::uint32_t kDnssecOkBit = 0x8000;
constexpr std::size_t kFixedSoaBytes = 20;  // behind its two names

std::optional<Address> read_address(std::string_view data, std::uint16_t record_type) {
  if (record_type == type::kA && data.size() == sizeof(in_addr)) {
    in_addr v4{};
    std::memcpy(&v4, data.data(), sizeof v4);
    return Address(v4);
  }
  if (record_type == type::kAaaa && data.size() == sizeof(in6_addr)) {
    in6_addr v6{};
    std::memcpy(&v6, data.data(), sizeof v6);
    return Address(v6);
  }
  return std::nullopt;
}

/// False where the record breaks the rules of its type.
bool add_answer(std::string_view bytes, const RawRecord& raw, std::span<const FixedFields> before,
                Message& message) {
  const bool address = raw.type == type::kA || raw.type == type::kAaaa;
  const bool name = raw.type == type::kCname || raw.type == type::kPtr;
  if (raw.dns_class != kInternet || !(address || name)) return true;
  if (message.answers.size() >= kMostRecords) return true;
  auto owner = read_name(bytes, raw.owner, before);
  if (!owner) return false;
  Record record{
      .owner = *std::move(owner), .type = raw.type, .ttl_s = ttl_at(bytes, raw.fixed + 4)};
  if (address) {
    const auto read = read_address(bytes.substr(raw.data, raw.end - raw.data), raw.type);
    if (!read) return false;
    record.address = *read;
  } else {
    if (name_end(bytes, raw.data) != raw.end) return false;
    auto target = read_name(bytes, raw.data, before);
    if (!target) return false;
    record.target = *std::move(target);
  }
  message.answers.push_back(std::move(record));
  return true;
}

/// How long the absence holds that this SOA record speaks of.
std::optional<std::uint32_t> negative_ttl(std::string_view bytes, const RawRecord& raw) {
  const auto first = name_end(bytes, raw.data);
  const auto second = first ? name_end(bytes, *first) : std::nullopt;
  if (!second || *second + kFixedSoaBytes != raw.end) return std::nullopt;
  return std::min(ttl_at(bytes, raw.fixed + 4), ttl_at(bytes, *second + 16));
}

/// False: a second OPT record, or one of a name other than the root (RFC 6891 section 6.1.1).
bool add_edns(std::string_view bytes, const RawRecord& raw, Message& message) {
  if (message.edns || raw.fixed != raw.owner + 1) return false;
  const std::uint32_t flags = number(bytes, raw.fixed + 4, 4);
  message.edns = Edns{.udp_bytes = raw.dns_class,
                      .version = static_cast<std::uint8_t>(flags >> 16),
                      .dnssec_ok = (flags & kDnssecOkBit) != 0,
                      .high_rcode = static_cast<std::uint8_t>(flags >> 24)};
  return true;
}

void note_ttl(Message& message, std::uint32_t ttl_s) {
  message.ttl_s = std::min(message.ttl_s.value_or(ttl_s), ttl_s);
}

bool read_records(std::string_view bytes, Message& message) {
  using Section = RawRecord::Section;
  std::optional<std::uint32_t> absence;
  bool answered = false;
  Records records(bytes, message.question_end);
  std::vector<FixedFields> fixed;
  while (const auto raw = records.next()) {
    if (raw->type == type::kOpt) {
      if (raw->section == Section::additional && !add_edns(bytes, *raw, message)) return false;
      continue;
    }
    if (raw->section == Section::answer) {
      fixed.push_back({.begin = raw->fixed, .end = raw->data});
      if (!add_answer(bytes, *raw, fixed, message)) return false;
      answered =
          answered || raw->type == message.question.type || message.question.type == type::kAny;
    }
    if (raw->section == Section::authority && raw->type == type::kSoa) {
      absence = negative_ttl(bytes, *raw);
    }
    note_ttl(message, ttl_at(bytes, raw->fixed + 4));
  }
  if (!answered) {
    message.ttl_s = absence ? std::min(*absence, message.ttl_s.value_or(*absence)) : absence;
  }
  return !records.broken();
}

bool read_question(std::string_view bytes, Message& message) {
  if (word(bytes, 4) != 1) return false;
  const auto end = name_end(bytes, kHeaderBytes);
  auto name = read_name(bytes, kHeaderBytes);
  if (!end || !name || *end + 4 > bytes.size()) return false;
  message.question = {
      .name = *std::move(name), .type = word(bytes, *end), .dns_class = word(bytes, *end + 2)};
  message.question_end = *end + 4;
  return true;
}

}  // namespace

std::optional<Message> parse(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || bytes.size() > kLongestMessage) return std::nullopt;
  const std::uint16_t flags = word(bytes, 2);
  Message message{.id = id_of(bytes),
                  .response = (flags & kResponse) != 0,
                  .opcode = static_cast<std::uint8_t>(flags >> 11 & 0xf),
                  .truncated = (flags & kTruncated) != 0,
                  .recursion_desired = (flags & kRecursionDesired) != 0,
                  .checking_disabled = (flags & kCheckingDisabled) != 0,
                  .authentic_data = (flags & kAuthenticData) != 0,
                  .rcode = static_cast<std::uint8_t>(flags & kRcode),
                  .question = {},
                  .answers = {},
                  .edns = {},
                  .ttl_s = {}};
  if (!read_question(bytes, message) || !read_records(bytes, message)) return std::nullopt;
  return message;
}

std::vector<Resolved> resolved_addresses(const Message& answer) {
  std::vector<Resolved> out;
  std::string name = answer.question.name;
  std::uint32_t ttl_s = 0x7fff'ffff;
  for (std::size_t steps = 0; steps <= kMostPointers; ++steps) {
    const Record* alias = nullptr;
    for (const Record& record : answer.answers) {
      if (record.owner != name) continue;
      if (record.type == type::kCname) {
        alias = &record;
      } else if (record.type == type::kA || record.type == type::kAaaa) {
        out.push_back({.address = record.address, .ttl_s = std::min(ttl_s, record.ttl_s)});
      }
    }
    if (alias == nullptr || !out.empty()) return out;
    ttl_s = std::min(ttl_s, alias->ttl_s);
    name = alias->target;
  }
  return out;
}

std::size_t udp_capacity(const Message& query) {
  if (!query.edns) return kPlainUdpBytes;
  return std::max<std::size_t>(query.edns->udp_bytes, kPlainUdpBytes);
}

std::uint16_t id_of(std::string_view message) { return word(message, 0); }

void set_id(std::string& message, std::uint16_t id) {
  message[0] = static_cast<char>(id >> 8);
  message[1] = static_cast<char>(id & 0xff);
}

void age(std::string& message, std::uint32_t seconds) {
  const auto end = name_end(message, kHeaderBytes);
  if (!end) return;
  Records records(message, *end + 4);
  while (const auto raw = records.next()) {
    if (raw->type == type::kOpt) continue;
    const std::uint32_t ttl_s = ttl_at(message, raw->fixed + 4);
    const std::uint32_t left_s = ttl_s - std::min(ttl_s, seconds);
    for (std::size_t i = 0; i < 4; ++i) {
      message[raw->fixed + 4 + i] = static_cast<char>(left_s >> (8 * (3 - i)) & 0xff);
    }
  }
}

}  // namespace shunt::dns
