// SPDX-License-Identifier: GPL-2.0-only
// Remembers which fake address stands for which name, so that clients who know one from before a
// restart still reach what they meant.
//
// A text file: a line that says for which ranges it is, then a line "PLACE NAME" for each
// assignment, the later one counts. Each is appended before the address is told, so that a kill
// loses none; a line that was not finished is passed over. The file is written anew, in one rename
// and without what is outdated, at the start, when it has grown to its limit, and when something
// could not be appended (a full disk): until that works it may say an older name for a place.
//
// Appending blocks the worker that gave the address, since the answer must not go before: for one
// write(2) of a line into the page cache, nothing is waited for on the disk. So does writing anew,
// which is as many lines as the pool has names (some MB at most), FakeFileLimits::pause_ms apart.
// The pool is not locked meanwhile: only workers with new names wait for each other.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/result.h"
#include "dns/dns_config.h"
#include "dns/fake_pool.h"
#include "dns/limits.h"
#include "net/unique_fd.h"

namespace shunt {

/// What such a file says for `ranges`. Nothing where a line is none of ours, or it is for others.
[[nodiscard]] std::optional<FakePool::Assignments> parse_fake_file(std::string_view text,
                                                                   std::string_view ranges);

/// The ranges that such a file says it is for; nothing where that is none of ours.
[[nodiscard]] std::optional<FakeRanges> ranges_of_fake_file(std::string_view text);

struct FakeMeaning {
  std::string name;  ///< "": it stands for none
};
/// What the file `path` says of an address; reads it as it is, also while shunt writes it (blocks).
/// Nothing where the address is in none of the file's ranges, or there is no file. A file that
/// cannot be read, or makes no sense, is an error.
[[nodiscard]] Result<std::optional<FakeMeaning>> look_up_fake(const std::string& path,
                                                              const Address& address);

struct FakeFileLimits {
  std::size_t bytes = limits::kFakeStateBytes;
  std::uint32_t pause_ms = limits::kFakeTidyMs;  ///< between two attempts to write it anew
};

class FakeFile {
 public:
  /// Fills `pool`, which must be new, from the file `path` and writes down what it gives from now
  /// on. A file that makes no sense is begun anew, with a warning; what cannot be written is an
  /// error, and so is a file that another process uses. Makes the folder. The pool must not be used
  /// any more when the file goes.
  static Result<std::unique_ptr<FakeFile>> open(std::string path, FakePool& pool,
                                                FakeFileLimits limits = {});
  ~FakeFile();
  FakeFile(const FakeFile&) = delete;
  FakeFile& operator=(const FakeFile&) = delete;

 private:
  FakeFile(std::string path, FakePool& pool, FakeFileLimits limits)
      : path_(std::move(path)), pool_(pool), limits_(limits) {}
  Result<void> lock();
  Result<void> load();
  enum class Durable : bool { no, yes };  ///< waits for the disk
  Result<void> rewrite(const FakePool::Assignments& assignments, Durable durable);
  void append(FakePool::Place place, std::string_view name);
  Result<void> append_line(std::string_view line);
  bool tidy();

  std::string path_;
  FakePool& pool_;
  FakeFileLimits limits_;
  UniqueFd lock_;
  std::mutex mutex_;  // of what follows; the pool's may be taken while it is held
  std::size_t size_ = 0;
  bool spoilt_ = false;  // it ends with a part of a line: nothing is appended until it is made anew
  bool behind_ = false;  // the pool has something that it has not
  std::chrono::steady_clock::time_point tidy_after_{};
  RateLimitedLog trouble_;
};

}  // namespace shunt
