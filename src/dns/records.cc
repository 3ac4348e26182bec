// SPDX-License-Identifier: GPL-2.0-only
#include "dns/records.h"

#include "dns/name.h"

namespace shunt::dns {
namespace {

constexpr std::size_t kFixedRecordBytes = 10;  // type, class, TTL, length

}  // namespace

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

std::uint32_t ttl_at(std::string_view bytes, std::size_t offset) {
  const std::uint32_t ttl = number(bytes, offset, 4);
  return ttl > 0x7fff'ffff ? 0 : ttl;
}

Records::Records(std::string_view bytes, std::size_t question_end)
    : bytes_(bytes), offset_(question_end) {
  for (std::size_t i = 0; i < left_.size(); ++i) left_[i] = word(bytes, 6 + 2 * i);
}

std::optional<RawRecord> Records::next() {
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

}  // namespace shunt::dns
