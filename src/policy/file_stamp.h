// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace shunt {

/// Which state of a file was read, so that somebody can see that there is a newer one.
struct FileStamp {
  std::string path;
  std::int64_t modified_ns = 0;  ///< since the epoch
  std::uint64_t size = 0;        ///< bytes
  std::uint64_t inode = 0;

  /// Another state lies at the path now, or none. One stat(2).
  [[nodiscard]] bool changed() const;
  bool operator==(const FileStamp&) const = default;
};

struct StampedFile {
  std::string bytes;
  FileStamp stamp;
};

/// All of a regular file, of at most `max_bytes`; reads it at once and blocks for as long. The
/// stamp is that of the file before it was read: what is written meanwhile makes it look changed.
[[nodiscard]] Result<StampedFile> read_stamped(const std::string& path, std::size_t max_bytes);

}  // namespace shunt
