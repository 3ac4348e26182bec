// SPDX-License-Identifier: GPL-2.0-only
// Running containers by their names, as the state files of Docker and Podman have them. No daemon
// is asked, so none has to run or to trust us.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace shunt {

struct Container {
  std::string id;      ///< 64 hexadecimal digits
  pid_t pid = 0;       ///< of its first process
  std::string cgroup;  ///< the path of all its processes, as /proc/PID/cgroup has it
};

/// `name`: a name, an id, or at least 12 digits of one. Files are looked for below `root` ("" is
/// the machine's): var/lib/docker/containers, and var/lib/containers/storage and
/// run/containers/storage of a Podman that root runs. Files of others than the engine's user are
/// not trusted with more than which process is meant.
/// Kind::usage where there is no such container, Kind::runtime where it does not run.
Result<Container> find_container(std::string_view name, const std::string& root = {});

/// The part of a cgroup's path that all processes of the container share: up to the component that
/// has its id; all of it where none has.
[[nodiscard]] std::string_view container_cgroup(std::string_view path, std::string_view id);

}  // namespace shunt
