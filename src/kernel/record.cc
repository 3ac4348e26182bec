// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/record.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <unordered_map>

#include "kernel/directory.h"
#include "kernel/state_lock.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

constexpr std::string_view kPrefix = "instance.";
constexpr std::string_view kControlPrefix = "control.";

std::vector<std::string> entries_of(const std::string& directory) {
  std::vector<std::string> names;
  Directory entries(directory);
  while (const char* name = entries.next()) {
    if (*name != '.') names.emplace_back(name);
  }
  return names;
}

/// The lock, not the pid, tells the living: a pid can be reused, and is another in a container.
bool is_locked(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return false;
  return !try_lock(fd.get()).value_or(true);
}

/// "0f1e2d3c-net42", as namespace_directory() makes them. RUN may be any folder of the user's, with
/// other things in it.
bool is_namespace_directory(std::string_view name) {
  if (name.size() < 13 ||
      name.substr(0, 8).find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return false;
  }
  const auto id = name.substr(8);
  return (id.starts_with("-net") || id.starts_with("-ino")) &&
         id.find_first_not_of("0123456789", 4) == std::string_view::npos;
}

class Fields {
 public:
  explicit Fields(std::string_view text) {
    while (!text.empty()) {
      const auto line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(line.size() + 1, text.size()));
      const auto equals = line.find('=');
      if (equals == std::string_view::npos) continue;
      values_.emplace(line.substr(0, equals), line.substr(equals + 1));
    }
  }
  std::string word(const std::string& key) {
    const auto found = values_.find(key);
    if (found != values_.end()) return found->second;
    complete_ = false;
    return {};
  }
  template <class Number>
  Number number(const std::string& key) {
    const std::string text = word(key);
    Number value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) complete_ = false;
    return value;
  }
  [[nodiscard]] bool complete() const { return complete_; }

 private:
  std::unordered_map<std::string, std::string> values_;
  bool complete_ = true;
};

}  // namespace

std::string encode_record(const LiveInstance& instance) {
  const Allotment& allotment = instance.allotment;
  std::string command = instance.command;
  for (char& letter : command) {
    if (letter == '\n') letter = ' ';
  }
  return fmt::format(
      "pid={}\ncommand={}\nnumber={}\nmask={}\nforwarded={}\nown={}\negress={}\ntable_mask={}"
      "\nroute_table={}\n"
      "first_priority={}\ntable_name={}\nclosed_table_name={}\n",
      instance.pid, command, allotment.number, allotment.marks.mask, allotment.marks.forwarded,
      allotment.marks.own, allotment.marks.egress, allotment.table_mask, allotment.route_table,
      allotment.first_priority, allotment.table_name, allotment.closed_table_name);
}

std::optional<LiveInstance> decode_record(std::string_view text) {
  Fields fields(text);
  LiveInstance instance{
      .pid = fields.number<pid_t>("pid"),
      .command = fields.word("command"),
      .allotment = {.number = fields.number<unsigned>("number"),
                    .marks = {.mask = fields.number<std::uint32_t>("mask"),
                              .forwarded = fields.number<std::uint32_t>("forwarded"),
                              .own = fields.number<std::uint32_t>("own"),
                              .egress = fields.number<std::uint32_t>("egress")},
                    .table_mask = fields.number<std::uint32_t>("table_mask"),
                    .route_table = fields.number<std::uint32_t>("route_table"),
                    .first_priority = fields.number<std::uint32_t>("first_priority"),
                    .table_name = fields.word("table_name"),
                    .closed_table_name = fields.word("closed_table_name")}};
  if (!fields.complete()) return std::nullopt;
  return instance;
}

std::string record_path(std::string_view directory, unsigned number) {
  return fmt::format("{}/{}{}", directory, kPrefix, number);
}

std::string control_socket_path(std::string_view directory, unsigned number) {
  return fmt::format("{}/{}{}", directory, kControlPrefix, number);
}

void remove_record(const std::string& path) {
  const std::size_t prefix = path.rfind(kPrefix);
  if (prefix != std::string::npos) {
    const std::string number = path.substr(prefix + kPrefix.size());
    ::unlink(fmt::format("{}{}{}", path.substr(0, prefix), kControlPrefix, number).c_str());
  }
  ::unlink(path.c_str());
}

Records read_records(const std::string& directory) {
  Records records;
  for (const auto& name : entries_of(directory)) {
    if (!name.starts_with(kPrefix)) continue;
    const auto path = fmt::format("{}/{}", directory, name);
    if (!is_locked(path)) {
      records.dead.push_back(path);
      continue;
    }
    const auto text = read_text_file(path);
    auto instance = text ? decode_record(*text) : std::nullopt;
    if (instance) {
      instance->control_socket = control_socket_path(directory, instance->allotment.number);
      records.live.push_back(std::move(*instance));
    } else {
      ++records.unreadable;
    }
  }
  return records;
}

void tidy_run_directory(const std::string& run) {
  const auto boot = read_text_file("/proc/sys/kernel/random/boot_id");
  if (!boot) return;
  for (const auto& name : entries_of(run)) {
    if (!is_namespace_directory(name)) continue;
    const auto directory = fmt::format("{}/{}", run, name);
    for (const auto& dead : read_records(directory).dead) remove_record(dead);
    if (!name.starts_with(boot->substr(0, 8))) {
      ::unlink(fmt::format("{}/sysctls", directory).c_str());
    }
    ::rmdir(directory.c_str());  // only if it is empty now
  }
}

}  // namespace shunt
