// SPDX-License-Identifier: GPL-2.0-only
#include "control/socket_path.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace shunt::control {

Result<SocketPath> SocketPath::create(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  SocketPath out;
  out.folder_ = UniqueFd(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!out.folder_.valid()) return Failure(errno_error(fmt::format("open {}", folder)));
  const std::string shortened = fmt::format("/proc/self/fd/{}/{}", out.folder_.get(), name);
  if (shortened.size() >= sizeof out.address_.sun_path) {
    return Failure(errno_error(fmt::format("the name of the socket {}", path), ENAMETOOLONG));
  }
  out.address_.sun_family = AF_UNIX;
  std::memcpy(out.address_.sun_path, shortened.data(), shortened.size());
  return out;
}

}  // namespace shunt::control
