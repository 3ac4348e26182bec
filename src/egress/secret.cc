// SPDX-License-Identifier: GPL-2.0-only
#include "egress/secret.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/error_numbers.h"
#include "base/escape.h"
#include "base/log.h"
#include "egress/wire/socks5.h"
#include "net/unique_fd.h"

namespace shunt {
namespace {

constexpr std::size_t kMostBytes = socks5::kLongestCredential + 2;  // and "\r\n"

Error password_error(const std::string& path, std::string_view what, int os_error) {
  Error error = errno_error(fmt::format("{} {}", what, path), os_error);
  error.kind = Kind::configuration;
  error.number = error_number::kPasswordFile;
  return error;
}

void warn_if_shared(int fd, const std::string& path) {
  struct stat status{};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return;
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) == 0) return;
  log(LogLevel::warning,
      fmt::format("other users can read the password file {}: chmod 600 {}", path, path));
}

Result<std::string> read_secret(const std::string& path, bool warn) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid()) return Failure(password_error(path, "cannot open the password file", errno));
  if (warn) warn_if_shared(fd.get(), path);
  std::string text;
  char buffer[kMostBytes + 1];
  while (text.size() <= kMostBytes && text.find('\n') == std::string::npos) {
    const auto count = ::read(fd.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Failure(password_error(path, "cannot read the password file", errno));
    if (count == 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
  }
  text.resize(std::min(text.find('\n'), text.size()));
  if (text.ends_with('\r')) text.pop_back();
  if (text.size() > socks5::kLongestCredential) {
    return Failure(password_error(
        path, fmt::format("more than {} bytes in the first line of", socks5::kLongestCredential),
        0));
  }
  return text;
}

}  // namespace

Result<std::string> read_password_file(const std::string& path) { return read_secret(path, true); }

Result<std::string> read_credential(const std::string& name) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing of shunt sets it
  const char* directory = ::getenv("CREDENTIALS_DIRECTORY");
  const auto refuse = [&name](std::string_view why, std::string help) {
    return Failure(make_error(Kind::configuration, error_number::kPasswordFile,
                              fmt::format("credential {}: {}", escaped(name), why),
                              std::move(help)));
  };
  if (name.empty() || name.contains('/') || name == "." || name == "..") {
    return refuse("not a plain file name", "");
  }
  if (directory == nullptr || *directory == '\0') {
    return refuse("systemd has handed none to this process (no CREDENTIALS_DIRECTORY)",
                  fmt::format("in the service's unit: LoadCredential={}:FILE", name));
  }
  return read_secret(fmt::format("{}/{}", directory, name), false);
}

}  // namespace shunt
