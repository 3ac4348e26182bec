// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error_numbers.h"
#include "kernel/toa.h"

namespace shunt {
namespace {

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

/// As /proc/self/cgroup has it, "/a/b"; "" without the unified hierarchy.
std::string own_path() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  return {};
}

Failure no_toa(std::string message, std::string help) {
  return Failure(
      make_error(Kind::unsupported, error_number::kNoToa, std::move(message), std::move(help)));
}

}  // namespace

Result<std::string> own_cgroup_directory() {
  const std::string path = own_path();
  for (const Mount& mount : cgroup_mounts()) {
    const std::string_view below =
        mount.root == "/" ? std::string_view() : std::string_view(mount.root);
    if (!path.starts_with(below)) continue;
    std::string directory = mount.point + path.substr(below.size());
    if (::access((directory + "/cgroup.procs").c_str(), F_OK) != 0) continue;
    // Every cgroup but the real root has a type (cgroups(7)), whatever a cgroup namespace calls it.
    if (::access((directory + "/cgroup.type").c_str(), F_OK) == 0) return directory;
    return no_toa("TOA needs a cgroup of shunt's own, and shunt is in the root one",
                  "systemd-run --scope shunt …, or a unit; by hand: mkdir a cgroup and write "
                  "shunt's pid into its cgroup.procs");
  }
  return no_toa("TOA needs the unified cgroup hierarchy, and none is mounted here",
                "mount -t cgroup2 none /sys/fs/cgroup/unified");
}

}  // namespace shunt
