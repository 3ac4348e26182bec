// SPDX-License-Identifier: GPL-2.0-only
#include "cli/watch_request.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/error_numbers.h"
#include "cli/options.h"
#include "kernel/cgroup.h"
#include "kernel/directory.h"

namespace shunt::cli {
namespace {

using By = WatchTarget::By;

constexpr unsigned kCgroupLevels = 16;  // the programs look as deep (bpf/selectors.bpf.h)

/// A route by nftables may do without cgroups.
Result<std::string> root_of(const Options& options, TargetsOf command) {
  std::string root = options.value("cgroup-root");
  if (root.empty()) {
    auto topmost = cgroup_directory_of("/");
    if (!topmost && command == TargetsOf::route) return std::string();
    return topmost;
  }
  while (root.size() > 1 && root.ends_with('/')) root.pop_back();
  if (::access((root + "/cgroup.procs").c_str(), F_OK) == 0) return root;
  return Failure(make_error(Kind::usage, error_number::kNoCgroup,
                            fmt::format("--cgroup-root: {} is no directory of a cgroup", root),
                            "such as /sys/fs/cgroup/system.slice"));
}

}  // namespace

Result<WatchRequest> parse_watch_request(const Options& options, TargetsOf command) {
  WatchRequest request;
  request.targets = SHUNT_TRY(parse_watch_targets(options.words(), command));
  request.root = SHUNT_TRY(root_of(options, command));
  request.move = options.has("move");
  const auto moves = [](const WatchTarget& target) {
    return target.by == By::process && !target.excluded;
  };
  if (request.move && std::ranges::none_of(request.targets, moves)) {
    return Failure(make_error(Kind::usage, error_number::kOptionConflict,
                              "--move moves the processes of pid:, and there is none",
                              "leave it out"));
  }
  return request;
}

bool has_own_cgroup(const WatchTarget& target, const WatchRequest& request) {
  if (target.excluded) return false;
  return target.by == By::cgroup || (target.by == By::process && request.move);
}

bool uses_root(const WatchRequest& request) {
  return std::ranges::any_of(request.targets, [&](const WatchTarget& target) {
    return !target.excluded && !has_own_cgroup(target, request);
  });
}

bool needs_following(const WatchTarget& target) {
  return target.by == By::process || target.by == By::name || target.by == By::unit;
}

SelectingProgram::Selection selection_of(const WatchRequest& request) {
  using Whom = SelectingProgram::Whom;
  const auto has = [&](auto condition) { return std::ranges::any_of(request.targets, condition); };
  const bool everybody = has(
      [](const WatchTarget& target) { return target.by == By::host || target.by == By::network; });
  const bool by_classid = has([](const WatchTarget& target) { return target.by == By::classid; });
  Whom whom = has(&WatchTarget::excluded) ? Whom::all_but : Whom::all;
  if (uses_root(request) && !everybody) whom = Whom::selected;
  return {.whom = whom, .cgroup_levels = kCgroupLevels, .by_classid = by_classid};
}

Failure outside_of_root(const WatchTarget& target, const WatchRequest& request) {
  return Failure(make_error(Kind::usage, error_number::kOptionConflict,
                            fmt::format("{} is not below {}", text_of(target), request.root),
                            "another --cgroup-root, or none"));
}

bool is_at_or_below(const std::string& directory, const std::string& top) {
  return directory == top || directory.starts_with(top + "/");
}

Result<std::string> cgroup_of_target(const WatchTarget& target, const std::string& path,
                                     const WatchRequest& request) {
  std::string directory = SHUNT_TRY(cgroup_directory_of(path));
  if (is_at_or_below(directory, request.root)) return directory;
  return outside_of_root(target, request);
}

std::vector<std::string> find_cgroups(const std::string& top, std::string_view name) {
  std::vector<std::string> found;
  if (top.empty()) return found;
  std::vector<std::string> open{top};
  for (std::size_t next = 0; next < open.size(); ++next) {
    const std::string directory = open[next];  // `open` grows
    Directory entries(directory);
    while (const char* entry = entries.next()) {
      std::string below = fmt::format("{}/{}", directory, entry);
      struct stat status{};
      if (entry[0] == '.' || ::lstat(below.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
        continue;
      }
      if (name == entry) found.push_back(below);
      open.push_back(std::move(below));
    }
  }
  return found;
}

}  // namespace shunt::cli
