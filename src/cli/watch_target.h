// SPDX-License-Identifier: GPL-2.0-only
// The words of `shunt watch` and `shunt route`: "pid:1234", "name:curl", "unit:nginx", "cgroup:/x",
// "classid:1:10", "uid:1000", "gid:staff", "container:web", "netns:/run/netns/x", "host"; with "!"
// in front, who is left alone. Of `route` alone "port:443", which means connections and not
// processes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flow/facts.h"
#include "rule/values.h"

namespace shunt::cli {

struct WatchTarget {
  enum class By : std::uint8_t {
    process,
    name,
    unit,
    cgroup,
    classid,
    user,
    group,
    container,
    network,
    host,
    port,
  };
  By by = By::host;
  bool excluded = false;
  /// Of a name, a unit ("nginx.service"), a cgroup ("/a/b"), a container, the file of a namespace,
  /// ports ("80,8000-8100").
  std::string text = {};
  /// Of a process; of a container's first one, once it is found; of a class.
  std::uint32_t number = 0;
  std::string cgroup = {};            ///< of a container, once it is found: "/a/b"
  std::vector<NumberRange> ids = {};  ///< of users or groups, each range one of them or more
};

enum class TargetsOf : std::uint8_t { watch, route };

/// Looks users and groups up by their names. The error has the place of the mistake.
Result<WatchTarget> parse_watch_target(std::string_view word, TargetsOf command = TargetsOf::watch);
/// All words of a command line: at least one must not be excluded.
Result<std::vector<WatchTarget>> parse_watch_targets(const std::vector<std::string>& words,
                                                     TargetsOf command = TargetsOf::watch);
/// Whether the word has the form of a target that no command's name has: "pid:…", "!name:…". (There
/// is a program `host`.)
[[nodiscard]] bool looks_like_target(std::string_view word);
/// As on the command line.
std::string text_of(const WatchTarget& target);

/// Whether the target means this process, by what /proc says of it. A process by its number only
/// itself, not its children. Containers and networks are known otherwise (cli/watch_network.h).
[[nodiscard]] bool means(const WatchTarget& target, std::uint32_t pid, const ProcessFact& process);

}  // namespace shunt::cli
