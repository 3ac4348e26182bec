// SPDX-License-Identifier: GPL-2.0-only
// A reader of MaxMind DB files (format 2.0: https://maxmind.github.io/MaxMind-DB/), for the country
// and the AS number of an address.
//
// A file is: a binary tree over the bits of an address, 16 zero bytes, data that the leaves point
// to, and behind a marker the metadata that says how large the tree is. The file is the user's and
// may be anything: every offset is checked against the section that it points into, nothing is
// allocated by what a length says, values are skipped with a counter instead of recursion, and each
// look-up has a bound on its steps.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/endpoint.h"
#include "policy/file_stamp.h"

namespace shunt {

/// Immutable; any thread.
class Mmdb {
 public:
  /// Reads the whole file (at most limits::kMmdbBytes): one that is replaced or cut while a mapping
  /// of it lives would end the process.
  static Result<std::shared_ptr<const Mmdb>> open(const std::string& path);
  /// The same from bytes; `path` is for messages and the stamp.
  static Result<std::shared_ptr<const Mmdb>> parse(std::string bytes, FileStamp stamp);

  /// ISO 3166-1 code of two letters of where the address is, else of where it is registered.
  [[nodiscard]] std::optional<std::array<char, 2>> country(const Address& address) const;
  [[nodiscard]] std::optional<std::uint32_t> autonomous_system(const Address& address) const;

  [[nodiscard]] const FileStamp& stamp() const { return stamp_; }

 private:
  Mmdb(std::string bytes, FileStamp stamp) : bytes_(std::move(bytes)), stamp_(std::move(stamp)) {}
  Result<void> read_metadata();
  [[nodiscard]] Error unusable(std::string_view why) const;
  [[nodiscard]] std::string_view data() const;
  [[nodiscard]] std::uint32_t child(std::uint32_t node, bool right) const;
  [[nodiscard]] std::uint32_t ipv4_root() const;
  /// Where the data of an address begins; empty: there is none.
  [[nodiscard]] std::optional<std::size_t> find(const Address& address) const;

  std::string bytes_;
  FileStamp stamp_;
  std::size_t tree_bytes_ = 0;
  std::size_t data_bytes_ = 0;
  std::uint32_t nodes_ = 0;
  std::uint32_t record_bits_ = 0;
  std::uint32_t ipv4_root_ = 0;  // the node below which IPv4 addresses lie
  bool ipv6_ = false;
};

}  // namespace shunt
