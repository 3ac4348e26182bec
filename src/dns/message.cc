// SPDX-License-Identifier: GPL-2.0-only
#include "dns/message.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "dns/edns.h"
#include "dns/header_bits.h"
#include "dns/name.h"

namespace shunt::dns {
namespace {

constexpr std::uint32_t kDnssecOkBit = 0x8000;
constexpr std::size_t kFixedRecordBytes = 10;  // type, class, TTL, length
constexpr std::size_t kFixedSoaBytes = 20;     // behind its two names

std::uint32_t number(std::string_view bytes, std::size_t offset, std::size_t size) {
  std::uint32_t value = 0;
  for (const char byte : bytes.substr(offset, size)) {
    value = value << 8 | static_cast<unsigned char>(byte);
  }
  return value;
}

std::uint16_t word(std::string_view bytes, std::size_t offset) {
  return static_cast<std::uint16_t>(number(bytes, offset, 2));
}

/// RFC 2181 section 8: with its highest bit set a TTL is 0.
std::uint32_t ttl_at(std::string_view bytes, std::size_t offset) {
  const std::uint32_t ttl = number(bytes, offset, 4);
  return ttl > 0x7fff'ffff ? 0 : ttl;
}

/// A record as it lies in its message.
struct RawRecord {
  std::size_t owner = 0;  ///< where the name begins
  std::size_t fixed = 0;  ///< and what is behind it
  std::uint16_t type = 0;
  std::uint16_t dns_class = 0;
  std::size_t data = 0;
  std::size_t end = 0;
  enum class Section : std::uint8_t { answer, authority, additional } section = Section::answer;
};

/// Goes over the records of a message, one next() for each.
class Records {
 public:
  Records(std::string_view bytes, std::size_t question_end) : bytes_(bytes), offset_(question_end) {
    for (std::size_t i = 0; i < left_.size(); ++i) left_[i] = word(bytes, 6 + 2 * i);
  }

  /// Nothing at the end, and where one is not whole: broken().
  std::optional<RawRecord> next() {
    while (section_ < left_.size() && left_[section_] == 0) ++section_;
    if (section_ == left_.size() || broken_) return std::nullopt;
    --left_[section_];
    RawRecord record{.owner = offset_, .section = static_cast<RawRecord::Section>(section_)};
    const auto fixed = name_end(bytes_, offset_);
    broken_ = !fixed || *fixed + kFixedRecordBytes > bytes_.size();
    if (broken_) return std::nullopt;
    record.fixed = *fixed;
    record.type = word(bytes_, *fixed);
    record.dns_class = word(bytes_, *fixed + 2);
    record.data = *fixed + kFixedRecordBytes;
    record.end = record.data + word(bytes_, *fixed + 8);
    broken_ = record.end > bytes_.size();
    if (broken_) return std::nullopt;
    offset_ = record.end;
    return record;
  }
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  std::string_view bytes_;
  std::size_t offset_;
  std::array<std::uint16_t, 3> left_{};
  std::size_t section_ = 0;
  bool broken_ = false;
};

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
bool add_answer(std::string_view bytes, const RawRecord& raw, Message& message) {
  const bool address = raw.type == type::kA || raw.type == type::kAaaa;
  const bool name = raw.type == type::kCname || raw.type == type::kPtr;
  if (raw.dns_class != kInternet || !(address || name)) return true;
  if (message.answers.size() >= kMostRecords) return true;
  auto owner = read_name(bytes, raw.owner);
  if (!owner) return false;
  Record record{
      .owner = *std::move(owner), .type = raw.type, .ttl_s = ttl_at(bytes, raw.fixed + 4)};
  if (address) {
    const auto read = read_address(bytes.substr(raw.data, raw.end - raw.data), raw.type);
    if (!read) return false;
    record.address = *read;
  } else {
    if (name_end(bytes, raw.data) != raw.end) return false;
    auto target = read_name(bytes, raw.data);
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
  while (const auto raw = records.next()) {
    if (raw->type == type::kOpt) {
      if (raw->section == Section::additional && !add_edns(bytes, *raw, message)) return false;
      continue;
    }
    if (raw->section == Section::answer) {
      if (!add_answer(bytes, *raw, message)) return false;
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

std::string without_edns(std::string message) {
  const auto question_end = name_end(message, kHeaderBytes);
  if (!question_end) return message;
  std::size_t end = *question_end + 4;
  std::size_t additional = 0;
  Records records(message, end);
  while (const auto raw = records.next()) {
    if (raw->section == RawRecord::Section::additional) {
      if (raw->type == type::kOpt) break;
      ++additional;
    }
    end = raw->end;
  }
  message.resize(end);
  message[10] = static_cast<char>(additional >> 8 & 0xff);
  message[11] = static_cast<char>(additional & 0xff);
  return message;
}

}  // namespace shunt::dns
