// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "base/error_numbers.h"
#include "kernel/directory.h"
#include "kernel/process_facts.h"
#include "kernel/text_file.h"
#include "net/unique_fd.h"

namespace shunt {
namespace {

constexpr std::string_view kPrefix = "shunt-";
constexpr int kMostLevels = 32;  // of cgroups that are removed below our own

struct Mount {
  std::string root;   ///< the directory of the hierarchy that is mounted there
  std::string point;  ///< where
};

/// mountinfo writes blanks and backslashes as \ooo (proc(5)).
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\' && at + 3 < text.size()) {
      out += static_cast<char>((text[at + 1] - '0') * 64 + (text[at + 2] - '0') * 8 + text[at + 3] -
                               '0');
      at += 3;
    } else {
      out += text[at];
    }
  }
  return out;
}

/// Of cgroup2, in the order of the file.
std::vector<Mount> cgroup_mounts() {
  std::vector<Mount> out;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    const std::vector<std::string> fields{std::istream_iterator<std::string>(words), {}};
    const auto dash = std::ranges::find(fields, "-");
    if (fields.size() < 5 || fields.end() - dash < 2 || *(dash + 1) != "cgroup2") continue;
    out.push_back({.root = unescaped(fields[3]), .point = unescaped(fields[4])});
  }
  return out;
}

Error cgroup_error(std::string message, std::string help) {
  return make_error(Kind::unsupported, error_number::kNoCgroup, std::move(message),
                    std::move(help));
}

Error explain(std::string_view what, int os_error) {
  Error error = errno_error(what, os_error);
  error.number = error_number::kNoCgroup;
  if (os_error == EACCES || os_error == EPERM || os_error == EROFS) {
    error.kind = os_error == EROFS ? Kind::unsupported : Kind::privilege;
    error.help = os_error == EROFS ? "a container with a writable /sys/fs/cgroup"
                                   : "run it with sudo, or in a cgroup that was delegated to you "
                                     "(systemd-run --user --scope -p Delegate=yes)";
  }
  return error;
}

bool is_directory(const std::string& parent, const char* name) {
  struct stat status{};
  return name[0] != '.' && ::lstat(fmt::format("{}/{}", parent, name).c_str(), &status) == 0 &&
         S_ISDIR(status.st_mode);
}

void remove_tree(const std::string& directory, int levels) {
  if (::rmdir(directory.c_str()) == 0 || errno != EBUSY || levels == 0) return;
  std::vector<std::string> below;
  {
    Directory entries(directory);
    while (const char* name = entries.next()) {
      if (is_directory(directory, name)) below.push_back(fmt::format("{}/{}", directory, name));
    }
  }
  for (const std::string& child : below) remove_tree(child, levels - 1);
  ::rmdir(directory.c_str());
}

void add_processes(const std::string& directory, int levels, std::vector<pid_t>& out) {
  std::ifstream file(directory + "/cgroup.procs");
  for (pid_t pid = 0; file >> pid;) out.push_back(pid);
  if (levels == 0) return;
  Directory entries(directory);
  while (const char* name = entries.next()) {
    if (is_directory(directory, name)) {
      add_processes(fmt::format("{}/{}", directory, name), levels - 1, out);
    }
  }
}

/// Whose "shunt-KIND-PID-N" it is; 0: nobody's.
pid_t maker_of(std::string_view name) {
  if (!name.starts_with(kPrefix)) return 0;
  name = name.substr(0, name.rfind('-'));
  const auto dash = name.rfind('-');
  if (dash == std::string_view::npos) return 0;
  name.remove_prefix(dash + 1);
  pid_t pid = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
  return parsed.ec == std::errc() && parsed.ptr == name.data() + name.size() ? pid : 0;
}

/// Not one that has ended and is only not buried yet (proc_pid_stat(5): "PID (NAME) STATE …").
bool is_alive(pid_t pid) {
  const auto line = read_text_file(fmt::format("/proc/{}/stat", pid));
  if (!line) return ::kill(pid, 0) == 0 || errno != ESRCH;
  const auto name_end = line->rfind(") ");
  return name_end == std::string::npos || !std::string_view("ZX").contains((*line)[name_end + 2]);
}

}  // namespace

Result<std::string> cgroup_directory_of(std::string_view path) {
  for (const Mount& mount : cgroup_mounts()) {
    const std::string_view below =
        mount.root == "/" ? std::string_view() : std::string_view(mount.root);
    if (!path.starts_with(below)) continue;
    std::string directory = mount.point + std::string(path.substr(below.size()));
    while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
    if (::access((directory + "/cgroup.procs").c_str(), F_OK) == 0) return directory;
  }
  if (cgroup_mounts().empty()) {
    return Failure(cgroup_error("the unified cgroup hierarchy is not mounted here",
                                "mount -t cgroup2 none /sys/fs/cgroup/unified"));
  }
  return Failure(cgroup_error(fmt::format("there is no cgroup {} here", path),
                              "systemd-cgls shows those that there are"));
}

Result<std::string> cgroup_directory(pid_t pid) {
  const std::string file = pid == 0 ? "/proc/self/cgroup" : fmt::format("/proc/{}/cgroup", pid);
  const auto text = read_text_file(file);
  if (!text) return Failure(errno_error(fmt::format("read {}", file)));
  return cgroup_directory_of(cgroup_path(*text));
}

bool is_root_cgroup(const std::string& directory) {
  return ::access((directory + "/cgroup.type").c_str(), F_OK) != 0;
}

Result<std::uint64_t> cgroup_id(const std::string& directory) {
  struct stat status{};
  if (::stat(directory.c_str(), &status) != 0) return Failure(explain(directory, errno));
  return status.st_ino;
}

unsigned cgroup_level(std::string_view path) {
  return path == "/" ? 0 : static_cast<unsigned>(std::ranges::count(path, '/'));
}

bool is_populated(const std::string& directory) {
  const auto events = read_text_file(directory + "/cgroup.events");
  if (events) return events->contains("populated 1");
  return !cgroup_processes(directory).empty();  // the root has no events
}

std::vector<pid_t> cgroup_processes(const std::string& directory) {
  std::vector<pid_t> out;
  add_processes(directory, kMostLevels, out);
  return out;
}

Result<UniqueFd> open_cgroup_processes(const std::string& directory) {
  UniqueFd procs(::open((directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (procs.valid()) return procs;
  return Failure(explain(fmt::format("move processes to {}", directory), errno));
}

Result<void> move_to_cgroup(pid_t pid, int processes) {
  const std::string text = std::to_string(pid);
  if (::write(processes, text.data(), text.size()) > 0) return {};
  return Failure(explain(fmt::format("move process {} to a cgroup", pid), errno));
}

Result<void> move_to_cgroup(pid_t pid, const std::string& directory) {
  const UniqueFd processes = SHUNT_TRY(open_cgroup_processes(directory));
  return move_to_cgroup(pid, processes.get());
}

Result<Cgroup> Cgroup::create(const std::string& parent, std::string_view kind) {
  static std::atomic<unsigned> made = 0;
  while (true) {
    std::string directory =
        fmt::format("{}/{}{}-{}-{}", parent, kPrefix, kind, ::getpid(), made.fetch_add(1));
    if (::mkdir(directory.c_str(), 0755) == 0) return Cgroup(std::move(directory));
    if (errno != EEXIST) {
      return Failure(explain(fmt::format("make the cgroup {}", directory), errno));
    }
  }
}

Cgroup::Cgroup(Cgroup&& other) noexcept : directory_(std::exchange(other.directory_, {})) {}

Cgroup& Cgroup::operator=(Cgroup&& other) noexcept {
  if (this != &other) {
    remove();
    directory_ = std::exchange(other.directory_, {});
  }
  return *this;
}

void Cgroup::remove() {
  if (!directory_.empty()) remove_tree(directory_, kMostLevels);
}

int sweep_cgroups(const std::string& parent) {
  std::vector<std::string> dead;
  {
    Directory entries(parent);
    while (const char* name = entries.next()) {
      const pid_t maker = maker_of(name);
      if (maker <= 0 || is_alive(maker)) continue;
      std::string directory = fmt::format("{}/{}", parent, name);
      if (!is_populated(directory)) dead.push_back(std::move(directory));
    }
  }
  for (const std::string& directory : dead) remove_tree(directory, kMostLevels);
  return static_cast<int>(dead.size());
}

}  // namespace shunt
