// SPDX-License-Identifier: GPL-2.0-only
// Remembers which fake address stands for which name, so that clients who know one from before a
// restart still reach what they meant.
//
// A text file: a line that says for which ranges it is, then a line "PLACE NAME" for each
// assignment, the later one counts. Each is appended when it is made, so that a kill loses none; a
// line that was not finished is passed over. At the start the file is written anew, in one rename,
// without what is outdated.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/result.h"
#include "dns/dns_config.h"
#include "dns/fake_pool.h"
#include "net/unique_fd.h"

namespace shunt {

/// What such a file says for `ranges`. Nothing where a line is none of ours, or it is for others.
[[nodiscard]] std::optional<FakePool::Assignments> parse_fake_file(std::string_view text,
                                                                   std::string_view ranges);

/// The ranges that such a file says it is for; nothing where that is none of ours.
[[nodiscard]] std::optional<FakeRanges> ranges_of_fake_file(std::string_view text);

/// What the file `path` says of an address; reads it as it is, also while shunt writes it (blocks).
struct FakeMeaning {
  std::string name;  ///< "": it stands for none
};
/// Nothing where the address is in none of the file's ranges, or there is no file. A file that
/// cannot be read, or makes no sense, is an error.
[[nodiscard]] Result<std::optional<FakeMeaning>> look_up_fake(const std::string& path,
                                                              const Address& address);

class FakeFile {
 public:
  /// Fills `pool`, which must be new, from the file `path` and writes down what it gives from now
  /// on. A file that makes no sense is begun anew, with a warning; what cannot be written is an
  /// error, and so is a file that another process uses. Makes the folder. The pool must not be used
  /// any more when the file goes.
  static Result<std::unique_ptr<FakeFile>> open(std::string path, FakePool& pool);

 private:
  FakeFile(std::string path, FakePool& pool) : path_(std::move(path)), pool_(pool) {}
  Result<void> lock();
  Result<void> load();
  Result<void> rewrite(const FakePool::Assignments& assignments);
  void append(FakePool::Place place, std::string_view name);

  std::string path_;
  FakePool& pool_;
  UniqueFd lock_;
  UniqueFd file_;
  RateLimitedLog trouble_;
};

}  // namespace shunt
