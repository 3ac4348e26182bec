// SPDX-License-Identifier: GPL-2.0-only
// SysctlJournal of kernel/sysctl.h. A line is
//   PATH TAB OLD TAB NEW { TAB PATH = OLD = AFTER }
// where the braces hold the sysctls that the kernel resets along with PATH: their value before, and
// what they became.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ranges>

#include "kernel/directory.h"
#include "kernel/sysctl.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

struct SideEffect {
  std::string path;
  std::string old_value;
  std::string after;
};

struct Entry {
  std::string path;
  std::string old_value;
  std::string new_value;
  std::vector<SideEffect> side_effects{};
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const auto end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string encode(const Entry& entry) {
  std::string line = fmt::format("{}\t{}\t{}", entry.path, entry.old_value, entry.new_value);
  for (const auto& side : entry.side_effects) {
    line += fmt::format("\t{}={}={}", side.path, side.old_value, side.after);
  }
  return line + "\n";
}

std::vector<Entry> decode(std::string_view text) {
  std::vector<Entry> entries;
  while (true) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return entries;  // a line without its end was not finished
    const auto fields = split(text.substr(0, end), '\t');
    text.remove_prefix(end + 1);
    if (fields.size() < 3) continue;
    Entry entry{.path = fields[0], .old_value = fields[1], .new_value = fields[2]};
    for (const auto& field : fields | std::views::drop(3)) {
      const auto parts = split(field, '=');
      if (parts.size() == 3) entry.side_effects.push_back({parts[0], parts[1], parts[2]});
    }
    entries.push_back(std::move(entry));
  }
}

/// Several values of one sysctl are parted by tabs, which the journal uses itself.
Result<std::string> current_value(std::string_view path) {
  auto value = SHUNT_TRY(read_sysctl(path));
  std::ranges::replace(value, '\t', ' ');
  return value;
}

/// "net/ipv4" for the sysctls of that family that set every interface's forwarding, else "".
std::string_view forwarding_family(std::string_view path) {
  if (path == "net/ipv4/ip_forward" || path == "net/ipv4/conf/all/forwarding") return "net/ipv4";
  if (path == "net/ipv6/conf/all/forwarding") return "net/ipv6";
  return {};
}

/// What changes along with `path` when it becomes `value`, as it is before.
std::vector<SideEffect> side_effects_of(std::string_view path, std::string_view value) {
  std::vector<SideEffect> effects;
  const auto family = forwarding_family(path);
  if (family.empty()) return effects;
  const auto note = [&](std::string side, std::string after) {
    if (side == path) return;
    if (auto old_value = current_value(side)) {
      effects.push_back({std::move(side), *std::move(old_value), std::move(after)});
    }
  };
  Directory interfaces(fmt::format("/proc/sys/{}/conf", family));
  while (const char* entry = interfaces.next()) {
    const std::string_view name = entry;
    if (name.starts_with('.') || name == "all") continue;
    note(fmt::format("{}/conf/{}/forwarding", family, name), std::string(value));
  }
  // inet_forward_change() also sets this one, to the opposite.
  if (family == "net/ipv4") note("net/ipv4/conf/all/accept_redirects", value == "0" ? "1" : "0");
  return effects;
}

/// What each side effect should be when the main value is back: its old value, unless somebody
/// changed it after shunt did.
std::vector<std::pair<std::string, std::string>> wanted_afterwards(const Entry& entry) {
  std::vector<std::pair<std::string, std::string>> wanted;
  for (const auto& side : entry.side_effects) {
    const auto now = current_value(side.path);
    if (!now) continue;  // its interface is gone
    wanted.emplace_back(side.path, *now == side.after ? side.old_value : *now);
  }
  return wanted;
}

void undo(const Entry& entry, SysctlJournal::Restored& report) {
  const auto now = current_value(entry.path);
  const auto name = sysctl_name(entry.path);
  if (!now || *now == entry.old_value) return;
  if (*now != entry.new_value) {
    report.left.push_back(
        fmt::format("sysctl {} stays {}: it was changed after shunt set it", name, *now));
    return;
  }
  const auto wanted = wanted_afterwards(entry);
  if (auto written = write_sysctl(entry.path, entry.old_value); !written) {
    report.failed.push_back(fmt::format("{} (it was before shunt)", written.error().text()));
    return;
  }
  for (const auto& [path, value] : wanted) {
    if (current_value(path).value_or(value) != value) static_cast<void>(write_sysctl(path, value));
  }
  report.restored.push_back(fmt::format("sysctl {} = {}, as it was", name, entry.old_value));
}

}  // namespace

Result<void> SysctlJournal::raise(std::string_view path, std::string_view value) const {
  const auto old_value = SHUNT_TRY(current_value(path));
  if (old_value == value) return {};
  struct stat status{};
  const off_t end = ::stat(file_.c_str(), &status) == 0 ? status.st_size : 0;
  const Entry entry{.path = std::string(path),
                    .old_value = old_value,
                    .new_value = std::string(value),
                    .side_effects = side_effects_of(path, value)};
  auto written = write_text_file(file_, encode(entry), O_WRONLY | O_CREAT | O_APPEND);
  if (written) written = write_sysctl(path, value);
  // Nothing to undo, and half a line (a full disk) would spoil the next one.
  if (!written) static_cast<void>(::truncate(file_.c_str(), end));
  return written;
}

SysctlJournal::Restored SysctlJournal::restore() const {
  Restored report;
  const auto text = read_text_file(file_);
  if (!text) return report;
  for (const Entry& entry : decode(*text) | std::views::reverse) undo(entry, report);
  if (report.failed.empty()) ::unlink(file_.c_str());
  return report;
}

bool SysctlJournal::empty() const {
  const auto text = read_text_file(file_);
  return !text || decode(*text).empty();
}

}  // namespace shunt
