// SPDX-License-Identifier: GPL-2.0-only
#include "policy/file_stamp.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/unique_fd.h"

namespace shunt {
namespace {

constexpr std::size_t kChunkBytes = 64 * 1024;

FileStamp stamp_of(const std::string& path, const struct stat& found) {
  return FileStamp{
      .path = path,
      .modified_ns = std::int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec,
      .size = static_cast<std::uint64_t>(found.st_size),
      .inode = found.st_ino};
}

}  // namespace

bool FileStamp::changed() const {
  struct stat found{};
  return ::stat(path.c_str(), &found) != 0 || stamp_of(path, found) != *this;
}

Result<StampedFile> read_stamped(const std::string& path, std::size_t max_bytes) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat found{};
  if (!fd.valid() || ::fstat(fd.get(), &found) != 0) {
    return Failure(errno_error(fmt::format("open {}", path)));
  }
  if (!S_ISREG(found.st_mode)) {
    return Failure(make_error(Kind::runtime, fmt::format("{} is no regular file", path)));
  }
  StampedFile file{.bytes = {}, .stamp = stamp_of(path, found)};
  while (file.bytes.size() <= max_bytes) {
    const std::size_t had = file.bytes.size();
    file.bytes.resize(had + kChunkBytes);
    const ssize_t got = ::read(fd.get(), file.bytes.data() + had, kChunkBytes);
    file.bytes.resize(had + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failure(errno_error(fmt::format("read {}", path)));
    if (got == 0) return file;
  }
  return Failure(
      make_error(Kind::runtime, fmt::format("{} is larger than {} MiB", path, max_bytes >> 20)));
}

}  // namespace shunt
