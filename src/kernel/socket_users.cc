// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/socket_users.h"

#include <sys/stat.h>

#include <charconv>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>

#include "kernel/text_file.h"

namespace shunt {
namespace {

/// Calls `visit` with the path of each entry until it says true, and yields whether it did. What
/// cannot be read, or goes meanwhile, has no entries.
template <class Visit>
bool any_entry(const std::string& directory, Visit visit) {
  std::error_code error;
  std::filesystem::directory_iterator entry(directory, error);
  for (const std::filesystem::directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    if (visit(entry->path().native())) return true;
  }
  return false;
}

bool holds(const std::string& process, std::uint32_t inode) {
  return any_entry(process + "/fd", [inode](const std::string& fd) {
    struct stat status{};
    return ::stat(fd.c_str(), &status) == 0 && S_ISSOCK(status.st_mode) && status.st_ino == inode;
  });
}

// proc_pid_status(5): "Uid:", then the real, the effective and two more ids. The owner of the
// directory would not do: it is root once a process has changed its user (PR_SET_DUMPABLE(2const)).
std::optional<uid_t> effective_user(const std::string& process) {
  const auto text = read_text_file(process + "/status");
  if (!text) return std::nullopt;
  constexpr std::string_view kField = "\nUid:\t";
  const auto field = text->find(kField);
  if (field == std::string::npos) return std::nullopt;
  const auto real_ends = text->find('\t', field + kField.size());
  if (real_ends == std::string::npos) return std::nullopt;
  uid_t user = 0;
  const char* const begin = text->data() + real_ends + 1;
  const auto parsed = std::from_chars(begin, text->data() + text->size(), user);
  return parsed.ec == std::errc() ? std::optional(user) : std::nullopt;
}

}  // namespace

std::vector<uid_t> users_of_socket(std::uint32_t inode) {
  constexpr std::string_view kProc = "/proc/";
  std::set<uid_t> users;
  any_entry(std::string(kProc), [&](const std::string& path) {
    const auto name = std::string_view(path).substr(kProc.size());
    if (name.find_first_not_of("0123456789") != std::string_view::npos) return false;
    if (!holds(path, inode)) return false;
    if (const auto user = effective_user(path)) users.insert(*user);
    return false;
  });
  return {users.begin(), users.end()};
}

}  // namespace shunt
