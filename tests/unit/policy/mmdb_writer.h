// SPDX-License-Identifier: GPL-2.0-only
// Writes MaxMind DB files for tests: every record size, either kind of tree.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/network.h"

namespace shunt::mmdb {

inline std::string head(unsigned type, std::size_t size) {
  std::string out;
  const auto five = static_cast<unsigned>(size < 29 ? size : size < 285 ? 29 : 30);
  out += static_cast<char>((type < 8 ? type << 5 : 0) | five);
  if (type >= 8) out += static_cast<char>(type - 7);
  if (five == 29) out += static_cast<char>(size - 29);
  if (five == 30) {
    out += static_cast<char>((size - 285) >> 8);
    out += static_cast<char>(size - 285);
  }
  return out;
}

inline std::string text(std::string_view value) {
  return head(2, value.size()) + std::string(value);
}

/// With the fewest bytes, as the format wants it. `type`: 5, 6 or 9, for 16, 32 or 64 bits.
inline std::string number(std::uint64_t value, unsigned type = 6) {
  std::string bytes;
  for (; value != 0; value >>= 8) bytes.insert(bytes.begin(), static_cast<char>(value));
  return head(type, bytes.size()) + bytes;
}

inline std::string map(const std::vector<std::pair<std::string, std::string>>& members) {
  std::string out = head(7, members.size());
  for (const auto& [key, value] : members) out += text(key) + value;
  return out;
}

/// Of the form with eleven bits.
inline std::string pointer(unsigned to) {
  return {static_cast<char>(0x20U | to >> 8), static_cast<char>(to)};
}

inline std::string country(std::string_view code) {
  return map({{"continent", map({{"code", text("EU")}})},
              {"country", map({{"geoname_id", number(2921044)}, {"iso_code", text(code)}})}});
}

class Writer {
 public:
  Writer(unsigned record_bits, unsigned ip_version)
      : record_bits_(record_bits), ip_version_(ip_version) {}

  /// The data of later networks may point into what was added before, from offset 0 on.
  void add(std::string_view network, const std::string& data) {
    const Network block = *Network::parse(network);
    std::vector<bool> bits(block.address.is_v4() && ip_version_ == 6 ? 96 : 0);
    for (unsigned i = 0; i < block.prefix_length; ++i) {
      const auto byte = static_cast<unsigned char>(block.address.bytes()[i / 8]);
      bits.push_back((byte >> (7 - i % 8) & 1U) != 0);
    }
    std::size_t node = 0;
    for (std::size_t i = 0; i + 1 < bits.size(); ++i) node = child(node, bits[i]);
    nodes_[node][bits.back() ? 1 : 0] = {Kind::data, data_.size()};
    data_ += data;
  }

  [[nodiscard]] std::string bytes() const {
    std::string out;
    for (const auto& node : nodes_) out += records(value(node[0]), value(node[1]));
    return out + std::string(16, '\0') + data_ + "\xab\xcd\xefMaxMind.com" + metadata();
  }

  std::uint64_t major_version = 2;
  std::uint64_t claimed_nodes = 0;  ///< 0: as many as there are

 private:
  enum class Kind : std::uint8_t { nothing, node, data };
  using Record = std::pair<Kind, std::size_t>;

  std::size_t child(std::size_t node, bool right) {
    if (nodes_[node][right ? 1 : 0].first != Kind::node) {
      nodes_.push_back({});
      nodes_[node][right ? 1 : 0] = {Kind::node, nodes_.size() - 1};
    }
    return nodes_[node][right ? 1 : 0].second;
  }

  [[nodiscard]] std::size_t value(const Record& record) const {
    if (record.first == Kind::node) return record.second;
    return nodes_.size() + (record.first == Kind::data ? 16 + record.second : 0);
  }

  [[nodiscard]] std::string records(std::size_t left, std::size_t right) const {
    const auto bytes = [](std::size_t from, int count) {
      std::string out;
      for (int i = count - 1; i >= 0; --i) out += static_cast<char>(from >> (8 * i));
      return out;
    };
    if (record_bits_ != 28) {
      const int count = record_bits_ == 24 ? 3 : 4;
      return bytes(left, count) + bytes(right, count);
    }
    const std::size_t middle = (left >> 24) << 4 | right >> 24;
    return bytes(left, 3) + bytes(middle, 1) + bytes(right, 3);
  }

  [[nodiscard]] std::string metadata() const {
    const std::uint64_t nodes = claimed_nodes != 0 ? claimed_nodes : nodes_.size();
    return map({{"binary_format_major_version", number(major_version, 5)},
                {"binary_format_minor_version", number(0, 5)},
                {"build_epoch", number(1'700'000'000, 9)},
                {"database_type", text("Test-Country")},
                {"description", map({{"en", text("for tests")}})},
                {"ip_version", number(ip_version_, 5)},
                {"languages", head(11, 1) + text("en")},
                {"node_count", number(nodes)},
                {"record_size", number(record_bits_, 5)}});
  }

  unsigned record_bits_;
  unsigned ip_version_;
  std::vector<std::array<Record, 2>> nodes_{1};
  std::string data_;
};

}  // namespace shunt::mmdb
