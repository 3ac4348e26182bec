// SPDX-License-Identifier: GPL-2.0-only
#include "cli/watched.h"

#include <fmt/format.h>
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
#include "kernel/namespace_members.h"
#include "kernel/net_cls.h"
#include "kernel/open_connections.h"
#include "kernel/process_facts.h"

namespace shunt::cli {
namespace {

using By = WatchTarget::By;
using SelectBy = SelectingProgram::SelectBy;

Failure no_such_process(const WatchTarget& target) {
  return Failure(make_error(shunt::Kind::runtime, error_number::kBadTarget,
                            fmt::format("there is no process {}", target.number),
                            "name:NAME means a program also before it runs"));
}

}  // namespace

// First what follows, then who is there: who comes in between is seen by the first, or by both.
Result<Watched> Watched::start(const WatchRequest& request, SelectingProgram& program) {
  Watched made(request);
  SHUNT_CHECK(made.follow(program));
  for (const WatchTarget& target : made.request_.targets) {
    SHUNT_CHECK(made.select(program, target));
  }
  SHUNT_CHECK(made.select_names(program));
  SHUNT_CHECK(made.attach(program));
  return made;
}

Watched::~Watched() {
  for (const Moved& moved : moved_) {
    // Some may have had children meanwhile.
    for (int turn = 0; turn < 3 && is_populated(moved.here.directory()); ++turn) {
      for (const pid_t pid : cgroup_processes(moved.here.directory())) {
        const auto back = move_to_cgroup(pid, moved.home.get());
        if (back || back.error().os_error == ESRCH) continue;  // it has ended meanwhile
        log(LogLevel::warning, back.error().text());
      }
    }
  }
}

Result<void> Watched::follow(SelectingProgram& program) {
  if (std::ranges::none_of(request_.targets, needs_following)) return {};
  watch_ = SHUNT_TRY(WatchProgram::start(program));
  for (const WatchTarget& target : request_.targets) {
    if (target.by == By::name) {
      SHUNT_CHECK(watch_->follow_process_name(target.text, target.excluded));
    } else if (target.by == By::unit) {
      SHUNT_CHECK(watch_->follow_cgroup_name(target.text, target.excluded));
    }
  }
  return {};
}

Result<void> Watched::select(SelectingProgram& program, const WatchTarget& target) {
  const auto ids = [&](SelectBy by) -> Result<void> {
    for (const NumberRange& range : target.ids) {
      for (std::uint64_t id = range.low; id <= range.high; ++id) {
        SHUNT_CHECK(program.select(by, id, target.excluded));
      }
    }
    return {};
  };
  switch (target.by) {
    case By::process: return select_process(program, target);
    case By::unit: return select_unit(program, target);
    case By::cgroup: {
      const auto directory = SHUNT_TRY(cgroup_of_target(target, target.text, request_));
      if (!target.excluded) cgroups_.push_back(directory);
      const std::uint64_t id = SHUNT_TRY(cgroup_id(directory));
      return program.select(SelectBy::cgroup, id, target.excluded);
    }
    case By::container: {
      const auto directory = SHUNT_TRY(cgroup_of_target(target, target.cgroup, request_));
      const std::uint64_t id = SHUNT_TRY(cgroup_id(directory));
      return program.select(SelectBy::cgroup, id, target.excluded);
    }
    case By::classid:
      SHUNT_CHECK(check_net_cls());
      return program.select(SelectBy::classid, target.number, target.excluded);
    case By::user: return ids(SelectBy::uid);
    case By::group: return ids(SelectBy::gid);
    case By::port:  // what these programs see of a socket has none
    case By::name:  // all at once, in select_names()
    case By::network:
    case By::host: return {};
  }
  return {};
}

/// With its children: those of later are seen by the watching program.
Result<void> Watched::select_process(SelectingProgram& program, const WatchTarget& target) {
  const auto pid = static_cast<pid_t>(target.number);
  if (::kill(pid, 0) != 0 && errno == ESRCH) return no_such_process(target);
  if (has_own_cgroup(target, request_)) return move(target, program);
  if (!target.excluded) {
    const auto directory = cgroup_directory(pid);
    if (directory && !is_at_or_below(*directory, request_.root)) {
      return outside_of_root(target, request_);
    }
  }
  Result<void> done;
  std::set<pid_t> seen;
  for (std::size_t before = 1; before != seen.size();) {  // until no child came in between
    before = seen.size();
    for_each_descendant(pid, [&](pid_t one) {
      if (!seen.insert(one).second) return;
      auto selected =
          program.select(SelectBy::process, static_cast<std::uint64_t>(one), target.excluded);
      if (!selected) done = std::move(selected);
    });
  }
  return done;
}

Result<void> Watched::select_unit(SelectingProgram& program, const WatchTarget& target) {
  const auto found = find_cgroups(request_.root, target.text);
  for (const std::string& directory : found) {
    const auto id = cgroup_id(directory);
    if (!id) continue;  // stopped meanwhile
    SHUNT_CHECK(program.select(SelectBy::cgroup, *id, target.excluded));
  }
  if (found.empty() && !target.excluded) awaited_.push_back(text_of(target));
  return {};
}

Result<void> Watched::select_names(SelectingProgram& program) {
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
      auto selected = program.select(SelectBy::named, number, target.excluded);
      if (!selected) done = std::move(selected);
    }
  });
  awaited_.insert(awaited_.end(), missing.begin(), missing.end());
  return done;
}

Result<void> Watched::attach(SelectingProgram& program) {
  if (uses_root(request_)) {
    std::erase_if(cgroups_,
                  [&](const std::string& one) { return is_at_or_below(one, request_.root); });
    cgroups_.push_back(request_.root);
  }
  for (const std::string& cgroup : cgroups_) SHUNT_CHECK(program.attach(cgroup));
  return {};
}

Result<void> Watched::move(const WatchTarget& target, SelectingProgram& program) {
  const auto pid = static_cast<pid_t>(target.number);
  const std::string before = SHUNT_TRY(cgroup_directory(pid));
  UniqueFd home = SHUNT_TRY(open_cgroup_processes(before));
  auto here = SHUNT_TRY(Cgroup::create(request_.root, "watch"));
  const std::uint64_t id = SHUNT_TRY(cgroup_id(here.directory()));
  SHUNT_CHECK(program.select(SelectBy::cgroup, id, false));
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

std::vector<pid_t> meant_processes(const WatchRequest& request) {
  std::set<pid_t> family;
  for (const WatchTarget& target : request.targets) {
    if (target.by != By::process || target.excluded) continue;
    for_each_descendant(static_cast<pid_t>(target.number), [&](pid_t pid) { family.insert(pid); });
  }
  std::vector<pid_t> there;
  if (request.root.empty()) {
    for_each_process([&](pid_t pid) { there.push_back(pid); });
  } else {
    there = cgroup_processes(request.root);
  }
  std::vector<pid_t> found;
  for (const pid_t pid : there) {
    const auto number = static_cast<std::uint32_t>(pid);
    const ProcessFact process = process_facts(pid);
    if (pid == ::getpid() || process.state != FactState::known) continue;
    if (request.network >= 0 && !shares_network(pid, request.network)) continue;
    const auto meant = [&](bool excluded) {
      return std::ranges::any_of(request.targets, [&](const WatchTarget& target) {
        return target.excluded == excluded && means(target, number, process);
      });
    };
    if ((meant(false) || family.contains(pid)) && !meant(true)) found.push_back(pid);
  }
  return found;
}

}  // namespace shunt::cli
