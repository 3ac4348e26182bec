// SPDX-License-Identifier: GPL-2.0-only
// Docker: ID/config.v2.json is {"ID": …, "Name": "/web", "State": {"Running": true, "Pid": 4711}}.
// Podman: overlay-containers/containers.json is [{"id": …, "names": ["web"]}], and the process's
// number stands in overlay-containers/ID/userdata/pidfile of the run directory.
#include "kernel/containers.h"

#include <fmt/format.h>

#include <charconv>
#include <csignal>
#include <optional>
#include <utility>
#include <vector>

#include "base/error_numbers.h"
#include "base/escape.h"
#include "base/json_scan.h"
#include "kernel/directory.h"
#include "kernel/process_facts.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

constexpr std::size_t kShortId = 12;  // as `docker ps` prints it

struct Found {
  std::string id;
  std::string name;  ///< by which it was asked for; else one of its names
  pid_t pid = 0;     ///< 0: it does not run
};

bool is_meant(const Found& container, std::string_view asked) {
  if (container.name == asked) return true;
  return asked.size() >= kShortId && std::string_view(container.id).starts_with(asked);
}

pid_t number_of(std::string_view text) {
  pid_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() && number > 0 ? number : 0;
}

bool stands_at(const JsonScalar& scalar, std::string_view outer, std::string_view inner = {}) {
  const std::size_t depth = inner.empty() ? 1 : 2;
  return scalar.keys.size() == depth && scalar.keys[0] == outer &&
         (inner.empty() || scalar.keys[1] == inner);
}

std::optional<Found> find_docker(std::string_view asked, const std::string& root) {
  const std::string directory = root + "/var/lib/docker/containers";
  Directory entries(directory);
  while (const char* entry = entries.next()) {
    if (entry[0] == '.') continue;
    const auto text = read_text_file(fmt::format("{}/{}/config.v2.json", directory, entry));
    if (!text) continue;
    Found found;
    bool runs = false;
    scan_json(*text, [&](const JsonScalar& scalar) {
      if (stands_at(scalar, "ID")) found.id = scalar.text;
      if (stands_at(scalar, "Name")) found.name = scalar.text.substr(scalar.text.starts_with('/'));
      if (stands_at(scalar, "State", "Pid")) found.pid = number_of(scalar.text);
      if (stands_at(scalar, "State", "Running")) runs = scalar.text == "true";
    });
    if (!is_meant(found, asked)) continue;
    if (!runs) found.pid = 0;
    return found;
  }
  return std::nullopt;
}

std::optional<Found> find_podman(std::string_view asked, const std::string& root) {
  const auto list =
      read_text_file(root + "/var/lib/containers/storage/overlay-containers/containers.json");
  if (!list) return std::nullopt;
  std::vector<Found> all;
  scan_json(*list, [&](const JsonScalar& scalar) {
    if (!stands_at(scalar, "id") && !stands_at(scalar, "names")) return;
    if (scalar.element >= all.size()) all.resize(scalar.element + 1);
    Found& found = all[scalar.element];
    if (scalar.keys[0] == "id") found.id = scalar.text;
    if (scalar.keys[0] == "names" && (found.name.empty() || scalar.text == asked)) {
      found.name = scalar.text;
    }
  });
  for (Found& found : all) {
    if (found.id.contains('/') || !is_meant(found, asked)) continue;
    const auto pid = read_text_file(fmt::format(
        "{}/run/containers/storage/overlay-containers/{}/userdata/pidfile", root, found.id));
    found.pid = pid ? number_of(*pid) : 0;
    return std::move(found);
  }
  return std::nullopt;
}

}  // namespace

std::string_view container_cgroup(std::string_view path, std::string_view id) {
  const auto at = id.empty() ? std::string_view::npos : path.find(id);
  if (at == std::string_view::npos) return path;
  return path.substr(0, path.find('/', at));
}

Result<Container> find_container(std::string_view name, const std::string& root) {
  auto found = find_docker(name, root);
  if (!found) found = find_podman(name, root);
  if (!found) {
    return Failure(make_error(Kind::usage, error_number::kBadTarget,
                              fmt::format("there is no container \"{}\"", escaped(name)),
                              "docker ps or podman ps lists them, as root; netns:/proc/PID/ns/net "
                              "takes any other"));
  }
  const auto file = read_text_file(fmt::format("/proc/{}/cgroup", found->pid));
  if (found->pid == 0 || !file) {
    return Failure(make_error(Kind::runtime, error_number::kBadTarget,
                              fmt::format("the container \"{}\" does not run", escaped(name)),
                              "start it first"));
  }
  return Container{.id = found->id,
                   .pid = found->pid,
                   .cgroup = std::string(container_cgroup(cgroup_path(*file), found->id))};
}

}  // namespace shunt
