// SPDX-License-Identifier: GPL-2.0-only
#include "policy/mmdb.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error_numbers.h"
#include "base/limits.h"
#include "policy/mmdb_value.h"

namespace shunt {
namespace {

constexpr std::string_view kMarker = "\xab\xcd\xefMaxMind.com";
constexpr std::size_t kMetadataBytes = 128 * 1024;  // the marker included
constexpr std::size_t kSeparatorBytes = 16;
constexpr std::uint64_t kMajorVersion = 2;
constexpr unsigned kMappedBits = 96;

unsigned bit_of(std::string_view bytes, unsigned at) {
  return static_cast<unsigned char>(bytes[at / 8]) >> (7 - at % 8) & 1U;
}

std::uint64_t number_of(const MmdbValue& map, std::string_view key) {
  const auto value = map.member(key);
  return value ? value->number().value_or(0) : 0;
}

std::optional<std::array<char, 2>> code_of(std::optional<MmdbValue> country) {
  if (!country) return std::nullopt;
  const auto code = country->member("iso_code");
  const auto text = code ? code->text() : std::nullopt;
  if (!text || text->size() != 2) return std::nullopt;
  return std::array{(*text)[0], (*text)[1]};
}

}  // namespace

Error Mmdb::unusable(std::string_view why) const {
  return make_error(Kind::configuration, error_number::kAddressDatabase,
                    fmt::format("{} is no usable MMDB file: {}", stamp_.path, why));
}

Result<std::shared_ptr<const Mmdb>> Mmdb::open(const std::string& path) {
  auto file = read_stamped(path, limits::kMmdbBytes);
  if (!file) {
    Error error = std::move(file).error();
    error.kind = Kind::configuration;
    error.number = error_number::kAddressDatabase;
    return Failure(std::move(error));
  }
  return parse(std::move(file->bytes), std::move(file->stamp));
}

Result<std::shared_ptr<const Mmdb>> Mmdb::parse(std::string bytes, FileStamp stamp) {
  // Not make_shared: the constructor is private.
  std::shared_ptr<Mmdb> database(new Mmdb(std::move(bytes), std::move(stamp)));
  SHUNT_CHECK(database->read_metadata());
  return std::shared_ptr<const Mmdb>(std::move(database));
}

Result<void> Mmdb::read_metadata() {
  const std::string_view all = bytes_;
  const std::size_t behind = all.size() - std::min(all.size(), kMetadataBytes);
  const std::size_t marker = all.rfind(kMarker);
  if (marker == std::string_view::npos || marker < behind) {
    return Failure(unusable("it has no metadata"));
  }
  const MmdbValue metadata(all.substr(marker + kMarker.size()), 0);
  const std::uint64_t nodes = number_of(metadata, "node_count");
  const std::uint64_t bits = number_of(metadata, "record_size");
  const std::uint64_t version = number_of(metadata, "ip_version");
  if (number_of(metadata, "binary_format_major_version") != kMajorVersion) {
    return Failure(unusable("its format is not version 2"));
  }
  const bool sizes = bits == 24 || bits == 28 || bits == 32;
  if (!sizes || nodes == 0 || nodes > UINT32_MAX || (version != 4 && version != 6)) {
    return Failure(unusable("its metadata make no sense"));
  }
  if (nodes * bits / 4 + kSeparatorBytes > marker) {
    return Failure(unusable("it is shorter than its tree"));
  }
  nodes_ = static_cast<std::uint32_t>(nodes);
  record_bits_ = static_cast<std::uint32_t>(bits);
  tree_bytes_ = nodes * bits / 4;
  data_bytes_ = marker - tree_bytes_ - kSeparatorBytes;
  ipv6_ = version == 6;
  ipv4_root_ = ipv4_root();
  return {};
}

std::string_view Mmdb::data() const {
  return std::string_view(bytes_).substr(tree_bytes_ + kSeparatorBytes, data_bytes_);
}

/// One record of a node. With 28 bits the byte in the middle holds the upper four of both.
std::uint32_t Mmdb::child(std::uint32_t node, bool right) const {
  const auto* const at = reinterpret_cast<const unsigned char*>(bytes_.data()) +
                         std::size_t{node} * (record_bits_ / 4);
  const auto three = [](const unsigned char* from) {
    return std::uint32_t{from[0]} << 16 | std::uint32_t{from[1]} << 8 | from[2];
  };
  switch (record_bits_) {
    case 24: return three(at + (right ? 3 : 0));
    case 28:
      return three(at + (right ? 4 : 0)) |
             (right ? std::uint32_t{at[3]} & 0x0fU : std::uint32_t{at[3]} >> 4U) << 24;
    default: {
      const auto* const record = at + (right ? 4 : 0);
      return three(record) << 8 | record[3];
    }
  }
}

/// In a tree of IPv6 addresses the IPv4 ones are those with 96 zero bits in front. The tree may end
/// before.
std::uint32_t Mmdb::ipv4_root() const {
  std::uint32_t node = 0;
  for (unsigned bit = 0; ipv6_ && bit < kMappedBits && node < nodes_; ++bit) {
    node = child(node, false);
  }
  return node;
}

std::optional<std::size_t> Mmdb::find(const Address& address) const {
  if (!address.is_v4() && !ipv6_) return std::nullopt;
  const std::string_view bytes = address.bytes();
  std::uint32_t node = address.is_v4() ? ipv4_root_ : 0;
  for (unsigned bit = 0; bit < bytes.size() * 8 && node < nodes_; ++bit) {
    node = child(node, bit_of(bytes, bit) != 0);
  }
  if (node < nodes_ + kSeparatorBytes) return std::nullopt;  // a node, nothing, or the separator
  const std::size_t at = node - nodes_ - kSeparatorBytes;
  if (at >= data_bytes_) return std::nullopt;
  return at;
}

std::optional<std::array<char, 2>> Mmdb::country(const Address& address) const {
  const auto at = find(address);
  if (!at) return std::nullopt;
  const MmdbValue record(data(), *at);
  const auto country = code_of(record.member("country"));
  return country ? country : code_of(record.member("registered_country"));
}

std::optional<std::uint32_t> Mmdb::autonomous_system(const Address& address) const {
  const auto at = find(address);
  if (!at) return std::nullopt;
  const auto number = MmdbValue(data(), *at).member("autonomous_system_number");
  const auto value = number ? number->number() : std::nullopt;
  if (!value || *value > UINT32_MAX) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

}  // namespace shunt
