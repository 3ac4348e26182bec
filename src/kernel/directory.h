// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <dirent.h>

#include <memory>
#include <string>

namespace shunt {

/// The entries of a directory, one after the other (readdir(3)). One that cannot be opened has
/// none.
class Directory {
 public:
  explicit Directory(const std::string& path) : opened_(::opendir(path.c_str())) {}

  /// The next name, "." and ".." included; valid until the next call. Null after the last.
  [[nodiscard]] const char* next() {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): safe as long as no two threads share the stream
    const dirent* entry = opened_ ? ::readdir(opened_.get()) : nullptr;
    return entry == nullptr ? nullptr : static_cast<const char*>(entry->d_name);
  }
  /// For *at() calls; -1 where it could not be opened.
  [[nodiscard]] int fd() const { return opened_ ? ::dirfd(opened_.get()) : -1; }

 private:
  struct Close {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  std::unique_ptr<DIR, Close> opened_;
};

}  // namespace shunt
