// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/net_cls.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <string>
#include <string_view>

#include "base/error_numbers.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

constexpr std::string_view kController = "net_cls";

/// "net_cls,net_prio" has it.
bool names_it(std::string_view controllers) {
  while (!controllers.empty()) {
    const auto end = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, end) == kController) return true;
    controllers.remove_prefix(std::min(end + 1, controllers.size()));
  }
  return false;
}

/// Where the hierarchy is mounted as a whole; "" where it is not. mountinfo (proc(5)): the root of
/// the mount, where it is, "-", the type, the device, and the controllers among its options.
std::string mount_point() {
  std::istringstream lines(read_text_file("/proc/self/mountinfo").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    const auto dash = line.find(" - cgroup ");
    if (dash == std::string::npos) continue;
    std::istringstream left(line.substr(0, dash));
    std::istringstream right(line.substr(dash + 3));
    std::string skipped;
    std::string root;
    std::string point;
    std::string options;
    left >> skipped >> skipped >> skipped >> root >> point;
    right >> skipped >> skipped >> options;
    if (root == "/" && names_it(options)) return point;
  }
  return {};
}

/// The path in that hierarchy: "4:net_cls,net_prio:/a".
std::string path_in(std::string_view proc_cgroup) {
  std::istringstream lines{std::string(proc_cgroup)};
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    if (names_it(std::string_view(line).substr(first + 1, second - first - 1))) {
      return line.substr(second + 1);
    }
  }
  return {};
}

}  // namespace

Result<void> check_net_cls() {
  std::istringstream lines(read_text_file("/proc/cgroups").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name;
    unsigned hierarchy = 0;
    unsigned cgroups = 0;
    unsigned enabled = 0;
    if (fields >> name >> hierarchy >> cgroups >> enabled && name == kController && enabled == 1) {
      return {};
    }
  }
  return Failure(make_error(Kind::unsupported, error_number::kNoCgroup,
                            "this kernel has no classes of sockets (the cgroup controller net_cls)",
                            "a kernel with CONFIG_CGROUP_NET_CLASSID, without "
                            "cgroup_disable=net_cls; or cgroup:/PATH"));
}

std::optional<std::uint32_t> classid_in(std::string_view proc_cgroup) {
  const std::string path = path_in(proc_cgroup);
  // At the root, where all are who were put nowhere: a class of everybody tells nobody apart, and
  // this is asked for each connection.
  if (path.empty() || path == "/") return std::nullopt;
  const std::string mounted = mount_point();
  if (mounted.empty()) return std::nullopt;
  const auto text = read_text_file(fmt::format("{}{}/net_cls.classid", mounted, path));
  if (!text) return std::nullopt;
  std::uint32_t value = 0;
  const auto read = std::from_chars(text->data(), text->data() + text->size(), value);
  if (read.ec != std::errc{}) return std::nullopt;
  return value;
}

}  // namespace shunt
