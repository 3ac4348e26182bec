// SPDX-License-Identifier: GPL-2.0-only
#include "dns/fake_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <unordered_map>

#include "base/escape.h"
#include "dns/message.h"

namespace shunt {
namespace {

constexpr std::string_view kTitle = "shunt fake-ip 1 ";

std::string line_of(FakePool::Place place, std::string_view name) {
  return fmt::format("{} {}\n", place, name);
}

/// The next line, without its end; nothing where it has none.
std::optional<std::string_view> take_line(std::string_view& text) {
  const auto end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const auto line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

std::optional<std::pair<FakePool::Place, std::string>> assignment_in(std::string_view line) {
  FakePool::Place place = 0;
  const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), place);
  line.remove_prefix(static_cast<std::size_t>(rest - line.data()));
  if (error != std::errc() || place == 0 || !line.starts_with(' ')) return std::nullopt;
  line.remove_prefix(1);
  if (line.empty() || line.find_first_of(" \r\t") != std::string_view::npos) return std::nullopt;
  if (!dns::name_to_wire(line)) return std::nullopt;
  return std::pair(place, std::string(line));
}

Error trouble_with(const std::string& path, std::string_view what, int os_error) {
  Error error = errno_error(fmt::format("{} {}", what, path), os_error);
  error.help = "SHUNT_STATE_DIR names another folder";
  return error;
}

Result<std::string> read_all(int fd, const std::string& path) {
  std::string text;
  std::array<char, 65536> buffer{};
  while (text.size() <= limits::kFakeStateBytes) {
    const auto count = ::read(fd, buffer.data(), buffer.size());
    if (count == 0) return text;
    if (count < 0 && errno != EINTR) return Failure(trouble_with(path, "reading", errno));
    if (count > 0) text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return Failure(trouble_with(path, "reading", EFBIG));
}

Result<void> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const auto count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno != EINTR) return Failure(trouble_with(path, "writing", errno));
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

}  // namespace

std::optional<FakePool::Assignments> parse_fake_file(std::string_view text,
                                                     std::string_view ranges) {
  const auto title = take_line(text);
  if (!title || *title != fmt::format("{}{}", kTitle, ranges)) return std::nullopt;
  FakePool::Assignments all;
  while (const auto line = take_line(text)) {
    auto assignment = assignment_in(*line);
    if (!assignment) return std::nullopt;
    all.push_back(*std::move(assignment));
  }
  // What was said last of a place and of a name counts.
  std::unordered_map<FakePool::Place, std::size_t> last_of_place;
  std::unordered_map<std::string_view, std::size_t> last_of_name;
  for (std::size_t i = 0; i < all.size(); ++i) {
    last_of_place[all[i].first] = i;
    last_of_name[all[i].second] = i;
  }
  FakePool::Assignments out;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (last_of_place[all[i].first] == i && last_of_name[all[i].second] == i) {
      out.push_back(all[i]);
    }
  }
  return out;
}

std::optional<FakeRanges> ranges_of_fake_file(std::string_view text) {
  auto title = take_line(text);
  if (!title || !title->starts_with(kTitle)) return std::nullopt;
  title->remove_prefix(kTitle.size());
  const std::size_t space = title->find(' ');
  DnsConfig config;
  config.range4 = title->substr(0, space);
  if (space != std::string_view::npos) config.range6 = title->substr(space + 1);
  const auto ranges = fake_ranges(config);
  if (!ranges) return std::nullopt;
  return *ranges;
}

Result<std::optional<FakeMeaning>> look_up_fake(const std::string& path, const Address& address) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid() && errno == ENOENT) return std::nullopt;
  if (!file.valid()) return Failure(errno_error("opening " + path, errno));
  const std::string text = SHUNT_TRY(read_all(file.get(), path));
  const auto ranges = ranges_of_fake_file(text);
  if (!ranges) return Failure(make_error(Kind::runtime, path + " holds no fake addresses"));
  FakePool pool(ranges->v4, ranges->v6);
  if (!pool.contains(address)) return std::nullopt;
  const auto assignments = parse_fake_file(text, pool.ranges());
  if (!assignments) return Failure(make_error(Kind::runtime, path + " is damaged"));
  const auto now = std::chrono::steady_clock::now();
  pool.restore(*assignments, now);
  return FakeMeaning{.name = pool.name_of(address, now).value_or("")};
}

Result<std::unique_ptr<FakeFile>> FakeFile::open(std::string path, FakePool& pool,
                                                 FakeFileLimits limits) {
  std::unique_ptr<FakeFile> file(new FakeFile(std::move(path), pool, limits));
  std::error_code failed;
  const auto folder = std::filesystem::path(file->path_).parent_path();
  std::filesystem::create_directories(folder, failed);
  if (failed) return Failure(trouble_with(folder.string(), "making the folder", failed.value()));
  SHUNT_CHECK(file->lock());
  SHUNT_CHECK(file->load());
  pool.on_assignment([raw = file.get()](FakePool::Place place, std::string_view name) {
    raw->append(place, name);
  });
  return file;
}

/// Beside the file, which is replaced now and then.
Result<void> FakeFile::lock() {
  const std::string path = path_ + ".lock";
  lock_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_.valid()) return Failure(trouble_with(path, "opening", errno));
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return {};
  Error error = trouble_with(path_, "another shunt uses", errno);
  error.kind = Kind::conflict;
  return Failure(std::move(error));
}

Result<void> FakeFile::load() {
  const UniqueFd old(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!old.valid() && errno != ENOENT) return Failure(trouble_with(path_, "opening", errno));
  FakePool::Assignments known;
  if (old.valid()) {
    const std::string text = SHUNT_TRY(read_all(old.get(), path_));
    auto parsed = parse_fake_file(text, pool_.ranges());
    if (parsed) {
      known = *std::move(parsed);
    } else if (!text.empty()) {
      log(LogLevel::warning,
          fmt::format("{} is not of these ranges ({}), or damaged: fake addresses from before mean "
                      "nothing any more",
                      path_, pool_.ranges()));
    }
  }
  pool_.restore(known, std::chrono::steady_clock::now());
  return rewrite(pool_.assignments(), Durable::yes);
}

/// The old file stays as it is until the new one is whole.
Result<void> FakeFile::rewrite(const FakePool::Assignments& assignments, Durable durable) {
  const std::string fresh = path_ + ".new";
  UniqueFd file(::open(fresh.c_str(),
                       O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return Failure(trouble_with(fresh, "opening", errno));
  std::string text = fmt::format("{}{}\n", kTitle, pool_.ranges());
  for (const auto& [place, name] : assignments) text += line_of(place, name);
  auto written = write_all(file.get(), text, fresh);
  if (written && durable == Durable::yes && ::fsync(file.get()) != 0) {
    written = Failure(trouble_with(fresh, "writing", errno));
  }
  if (!written) {
    (void)::unlink(fresh.c_str());  // it takes room that the old one may need
    return written;
  }
  if (std::rename(fresh.c_str(), path_.c_str()) != 0) {
    return Failure(trouble_with(path_, "replacing", errno));
  }
  size_ = text.size();
  spoilt_ = false;
  return {};
}

// One write(2) for a line: the kernel keeps it whatever becomes of this process. It is opened for
// each, since any worker may write, and each has a descriptor table of its own.
void FakeFile::append(FakePool::Place place, std::string_view name) {
  const std::scoped_lock lock(mutex_);
  const std::string line = line_of(place, name);
  const bool full = size_ + line.size() > limits_.bytes;
  if ((full || behind_) && tidy()) return;  // with this one, which the pool has already
  const auto written =
      full ? Result<void>(Failure(trouble_with(path_, "writing", EFBIG))) : append_line(line);
  if (written) return;
  behind_ = true;
  trouble_.warn(written.error().text());
}

/// On failure the file is as it was: the part of a line that was written would be one with the
/// next.
Result<void> FakeFile::append_line(std::string_view line) {
  if (spoilt_) return Failure(trouble_with(path_, "writing", EBADF));
  const UniqueFd file(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return Failure(trouble_with(path_, "opening", errno));
  auto written = write_all(file.get(), line, path_);
  if (written) {
    size_ += line.size();
  } else if (::ftruncate(file.get(), static_cast<off_t>(size_)) != 0) {
    spoilt_ = true;
  }
  return written;
}

/// Writes all that the pool has anew, at most once in pause_ms; false: not now, or it failed.
bool FakeFile::tidy() {
  const auto now = std::chrono::steady_clock::now();
  if (now < tidy_after_) return false;
  tidy_after_ = now + std::chrono::milliseconds(limits_.pause_ms);
  const auto done = rewrite(pool_.assignments(), Durable::no);
  if (!done) trouble_.warn(done.error().text());
  behind_ = !done;
  return done.has_value();
}

FakeFile::~FakeFile() {
  if (behind_) (void)rewrite(pool_.assignments(), Durable::no);
}

}  // namespace shunt
