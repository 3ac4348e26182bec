// SPDX-License-Identifier: GPL-2.0-only
#include "capture/preload_target.h"

#include <examine.h>
#include <fmt/format.h>
#include <preload.abi.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error_numbers.h"

namespace shunt {
namespace {

namespace fs = std::filesystem;

std::string other_method(shunt_target target) {
  switch (target) {
    case SHUNT_TARGET_SETUID:
    case SHUNT_TARGET_CAPABILITIES:
      return "shunt run --method seccomp      (captures it; it runs without its privilege)";
    case SHUNT_TARGET_UNREADABLE:
    case SHUNT_TARGET_BROKEN:
    case SHUNT_TARGET_NESTED: return "shunt run --method namespace      (captures any program)";
    default: return "shunt run --method seccomp      (captures it; so does `namespace`)";
  }
}

}  // namespace

std::optional<std::string> find_program(const std::string& program) {
  if (program.contains('/')) return program;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread is started
  const char* variable = ::getenv("PATH");
  std::string_view path = variable != nullptr ? variable : "/bin:/usr/bin";
  while (true) {
    const auto directory = path.substr(0, path.find(':'));
    auto file = fmt::format("{}/{}", directory.empty() ? "." : directory, program);
    if (::access(file.c_str(), X_OK) == 0) return file;
    if (directory.size() == path.size()) return std::nullopt;
    path.remove_prefix(directory.size() + 1);
  }
}

Result<void> check_preload_target(const std::string& program) {
  const auto path = find_program(program);
  if (!path) return {};
  const auto finding = std::make_unique<shunt_finding>();
  shunt_examine(path->c_str(), -1, finding.get());
  if (shunt_may_run(finding->target)) return {};
  return Failure(
      make_error(Kind::unsupported, error_number::kNotPreloadable,
                 fmt::format("{} {}: it would not load {}", static_cast<const char*>(finding->path),
                             shunt_target_words(finding->target), SHUNT_PRELOAD_LIBRARY),
                 other_method(finding->target)));
}

Result<std::string> find_preload_library() {
  std::error_code ignored;
  const fs::path own = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  const std::array<fs::path, 2> places{own, (own / SHUNT_LIBRARY_FROM_PROGRAM).lexically_normal()};
  for (const fs::path& place : places) {
    std::string found = place / SHUNT_PRELOAD_LIBRARY;
    if (::access(found.c_str(), R_OK) != 0) continue;
    if (found.find_first_of(": ") == std::string::npos) return found;
    return Failure(make_error(
        Kind::unsupported, error_number::kNoPreloadLibrary,
        fmt::format("LD_PRELOAD cannot name {}: there is a blank or a colon in it", found),
        "install shunt below another directory"));
  }
  return Failure(make_error(Kind::unsupported, error_number::kNoPreloadLibrary,
                            fmt::format("{} is neither in {} nor in {}", SHUNT_PRELOAD_LIBRARY,
                                        places[0].string(), places[1].string()),
                            "install it beside shunt: it is built with it"));
}

}  // namespace shunt
