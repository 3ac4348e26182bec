// SPDX-License-Identifier: GPL-2.0-only
#include "cli/watched.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <functional>
#include <iterator>
#include <set>
#include <utility>

#include "base/error_numbers.h"
#include "base/log.h"
#include "kernel/directory.h"
#include "kernel/namespace_members.h"
#include "kernel/open_connections.h"
#include "kernel/process_facts.h"

namespace shunt::cli {
namespace {

using By = WatchTarget::By;
using SelectBy = CaptureProgram::SelectBy;

/// The directories of that name below `top`, itself left out.
std::vector<std::string> find_cgroups(const std::string& top, std::string_view name) {
  std::vector<std::string> found;
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

/// A process, or a program that may start anew, is known by what follows processes.
bool needs_watch(const WatchTarget& target) {
  return target.by == By::process || target.by == By::name || target.by == By::unit;
}

/// Is attached where it is, not selected below the root.
bool has_own_cgroup(const WatchTarget& target, const WatchRequest& request) {
  if (target.excluded) return false;
  return target.by == By::cgroup || (target.by == By::process && request.move);
}

bool uses_root(const WatchRequest& request) {
  return std::ranges::any_of(request.targets, [&](const WatchTarget& target) {
    return !target.excluded && !has_own_cgroup(target, request);
  });
}

Failure no_such_process(const WatchTarget& target) {
  return Failure(make_error(shunt::Kind::runtime, error_number::kBadTarget,
                            fmt::format("there is no process {}", target.number),
                            "name:NAME watches a program also before it runs"));
}

Failure outside(const WatchTarget& target, const std::string& root) {
  return Failure(make_error(shunt::Kind::usage, error_number::kOptionConflict,
                            fmt::format("{} is not below {}", text_of(target), root),
                            "another --cgroup-root, or none"));
}

bool is_below(const std::string& directory, const std::string& root) {
  return directory == root || directory.starts_with(root + "/");
}

}  // namespace

CaptureProgramOptions::Capture capture_mode(const WatchRequest& request) {
  using Capture = CaptureProgramOptions::Capture;
  const auto has = [&](auto condition) { return std::ranges::any_of(request.targets, condition); };
  const bool everybody = has(
      [](const WatchTarget& target) { return target.by == By::host || target.by == By::network; });
  if (uses_root(request) && !everybody) return Capture::selected;
  return has(&WatchTarget::excluded) ? Capture::all_but : Capture::all;
}

// First what follows, then who is there: who comes in between is seen by the first, or by both.
Result<Watched> Watched::start(const WatchRequest& request, CgroupCapture& capture) {
  Watched made(request);
  SHUNT_CHECK(made.follow(capture));
  for (const WatchTarget& target : made.request_.targets) {
    SHUNT_CHECK(made.select(capture, target));
  }
  SHUNT_CHECK(made.select_names(capture));
  SHUNT_CHECK(made.attach(capture));
  return made;
}

Watched::~Watched() {
  for (const Moved& moved : moved_) {
    // Some may have had children meanwhile.
    for (int turn = 0; turn < 3 && is_populated(moved.here.directory()); ++turn) {
      for (const pid_t pid : cgroup_processes(moved.here.directory())) {
        (void)move_to_cgroup(pid, moved.home);
      }
    }
  }
}

Result<void> Watched::follow(CgroupCapture& capture) {
  if (std::ranges::none_of(request_.targets, needs_watch)) return {};
  watch_ = SHUNT_TRY(WatchProgram::start(capture.program()));
  for (const WatchTarget& target : request_.targets) {
    if (target.by == By::name) {
      SHUNT_CHECK(watch_->follow_process_name(target.text, target.excluded));
    } else if (target.by == By::unit) {
      SHUNT_CHECK(watch_->follow_cgroup_name(target.text, target.excluded));
    }
  }
  return {};
}

Result<void> Watched::select(CgroupCapture& capture, const WatchTarget& target) {
  CaptureProgram& program = capture.program();
  const auto ids = [&](SelectBy by) -> Result<void> {
    for (const NumberRange& range : target.ids) {
      for (std::uint64_t id = range.low; id <= range.high; ++id) {
        SHUNT_CHECK(program.select(by, id, target.excluded));
      }
    }
    return {};
  };
  switch (target.by) {
    case By::process: return select_process(capture, target);
    case By::unit: return select_unit(capture, target);
    case By::cgroup: {
      const std::string directory = SHUNT_TRY(cgroup_directory_of(target.text));
      if (!is_below(directory, request_.root)) return outside(target, request_.root);
      if (!target.excluded) cgroups_.push_back(directory);
      const std::uint64_t id = SHUNT_TRY(cgroup_id(directory));
      return program.select(SelectBy::cgroup, id, target.excluded);
    }
    case By::container: {
      const std::string directory = SHUNT_TRY(cgroup_directory_of(target.cgroup));
      if (!is_below(directory, request_.root)) return outside(target, request_.root);
      const std::uint64_t id = SHUNT_TRY(cgroup_id(directory));
      return program.select(SelectBy::cgroup, id, target.excluded);
    }
    case By::user: return ids(SelectBy::uid);
    case By::group: return ids(SelectBy::gid);
    case By::name:  // all at once, in select_names()
    case By::network:
    case By::host: return {};
  }
  return {};
}

/// With its children: those of later are seen by the watching program.
Result<void> Watched::select_process(CgroupCapture& capture, const WatchTarget& target) {
  const auto pid = static_cast<pid_t>(target.number);
  if (::kill(pid, 0) != 0 && errno == ESRCH) return no_such_process(target);
  if (has_own_cgroup(target, request_)) return move(target, capture);
  Result<void> done;
  std::set<pid_t> seen;
  for (std::size_t before = 1; before != seen.size();) {  // until no child came in between
    before = seen.size();
    for_each_descendant(pid, [&](pid_t one) {
      if (!seen.insert(one).second) return;
      auto selected = capture.program().select(SelectBy::process, static_cast<std::uint64_t>(one),
                                               target.excluded);
      if (!selected) done = std::move(selected);
    });
  }
  return done;
}

Result<void> Watched::select_unit(CgroupCapture& capture, const WatchTarget& target) {
  const auto found = find_cgroups(request_.root, target.text);
  for (const std::string& directory : found) {
    const auto id = cgroup_id(directory);
    if (!id) continue;  // stopped meanwhile
    SHUNT_CHECK(capture.program().select(SelectBy::cgroup, *id, target.excluded));
  }
  if (found.empty() && !target.excluded) awaited_.push_back(text_of(target));
  return {};
}

Result<void> Watched::select_names(CgroupCapture& capture) {
  std::set<std::string> missing;
  for (const WatchTarget& target : request_.targets) {
    if (target.by == By::name && !target.excluded) missing.insert(text_of(target));
  }
  Result<void> done;
  for_each_process([&](pid_t pid) {
    const ProcessFact process = process_facts(pid);
    for (const WatchTarget& target : request_.targets) {
      const auto number = static_cast<std::uint32_t>(pid);
      if (target.by != By::name || !means(target, number, process)) continue;
      missing.erase(text_of(target));
      auto selected = capture.program().select(SelectBy::named, number, target.excluded);
      if (!selected) done = std::move(selected);
    }
  });
  awaited_.insert(awaited_.end(), missing.begin(), missing.end());
  return done;
}

Result<void> Watched::attach(CgroupCapture& capture) {
  if (uses_root(request_)) {
    std::erase_if(cgroups_, [&](const std::string& one) { return is_below(one, request_.root); });
    cgroups_.push_back(request_.root);
  }
  for (const std::string& cgroup : cgroups_) SHUNT_CHECK(capture.attach(cgroup));
  return {};
}

Result<void> Watched::move(const WatchTarget& target, CgroupCapture& capture) {
  const auto pid = static_cast<pid_t>(target.number);
  std::string home = SHUNT_TRY(cgroup_directory(pid));
  auto here = SHUNT_TRY(Cgroup::create(request_.root, "watch"));
  const std::uint64_t id = SHUNT_TRY(cgroup_id(here.directory()));
  SHUNT_CHECK(capture.program().select(SelectBy::cgroup, id, false));
  cgroups_.push_back(here.directory());
  std::vector<pid_t> family;
  for_each_descendant(pid, [&](pid_t one) { family.push_back(one); });
  const std::string directory = here.directory();
  moved_.push_back({.home = std::move(home), .here = std::move(here)});
  for (const pid_t one : family) {
    const auto done = move_to_cgroup(one, directory);
    if (!done && done.error().os_error != ESRCH) return done;  // it has ended meanwhile
  }
  return {};
}

std::vector<pid_t> Watched::moved() const {
  std::vector<pid_t> found;
  for (const Moved& moved : moved_) {
    std::ranges::copy(cgroup_processes(moved.here.directory()), std::back_inserter(found));
  }
  return found;
}

std::vector<pid_t> Watched::processes() const {
  std::set<pid_t> family;
  for (const WatchTarget& target : request_.targets) {
    if (target.by != By::process || target.excluded) continue;
    for_each_descendant(static_cast<pid_t>(target.number), [&](pid_t pid) { family.insert(pid); });
  }
  std::vector<pid_t> found;
  for (const pid_t pid : cgroup_processes(request_.root)) {
    const auto number = static_cast<std::uint32_t>(pid);
    const ProcessFact process = process_facts(pid);
    if (pid == ::getpid() || process.state != FactState::known) continue;
    if (request_.network >= 0 && !shares_network(pid, request_.network)) continue;
    const auto meant = [&](bool excluded) {
      return std::ranges::any_of(request_.targets, [&](const WatchTarget& target) {
        return target.excluded == excluded && means(target, number, process);
      });
    };
    if ((meant(false) || family.contains(pid)) && !meant(true)) found.push_back(pid);
  }
  return found;
}

}  // namespace shunt::cli
