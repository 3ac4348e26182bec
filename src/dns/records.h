// SPDX-License-Identifier: GPL-2.0-only
// The records of a message as they lie in its bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shunt::dns {

/// Big-endian, of `size` bytes (4 at most); what is missing of them is left out.
[[nodiscard]] std::uint32_t number(std::string_view bytes, std::size_t offset, std::size_t size);
[[nodiscard]] std::uint16_t word(std::string_view bytes, std::size_t offset);
/// RFC 2181 section 8: with its highest bit set a TTL is 0.
[[nodiscard]] std::uint32_t ttl_at(std::string_view bytes, std::size_t offset);

struct RawRecord {
  std::size_t owner = 0;  ///< where the name begins
  std::size_t fixed = 0;  ///< and what is behind it
  std::uint16_t type = 0;
  std::uint16_t dns_class = 0;
  std::size_t data = 0;
  std::size_t end = 0;
  enum class Section : std::uint8_t { answer, authority, additional } section = Section::answer;
};

/// Goes over the records of a message, one next() for each. The bytes are of at least kHeaderBytes
/// and outlive this.
class Records {
 public:
  Records(std::string_view bytes, std::size_t question_end);
  /// Nothing at the end, and where one is not whole: broken().
  std::optional<RawRecord> next();
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  std::string_view bytes_;
  std::size_t offset_;
  std::array<std::uint16_t, 3> left_{};
  std::size_t section_ = 0;
  bool broken_ = false;
};

}  // namespace shunt::dns
