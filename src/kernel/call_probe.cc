// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/call_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "kernel/foreign_process.h"
#include "net/fd_passing.h"

namespace shunt {
namespace {

constexpr std::uint16_t kProbePort = 1;

}  // namespace

Result<ProbeChild> start_probe_child(void (*life)(int channel)) {
  auto [ours, theirs] = SHUNT_TRY(make_record_channel());
  const pid_t child = ::fork();
  if (child < 0) return Failure(errno_error("fork"));
  if (child == 0) {
    ours.reset();
    life(theirs.get());
    ::_exit(1);
  }
  const timeval patience{.tv_sec = kProbeWithinMs / 1000, .tv_usec = 0};
  ::setsockopt(ours.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return ProbeChild{.pid = child, .channel = std::move(ours)};
}

int make_probe_call(int socket) {
  sockaddr_in nowhere{};
  nowhere.sin_family = AF_INET;
  nowhere.sin_port = htons(kProbePort);
  nowhere.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int done = ::connect(socket, reinterpret_cast<sockaddr*>(&nowhere), sizeof nowhere);
  return done == 0 ? 0 : errno;
}

Result<TrappedCall> receive_probe_call(const CallSource& source, std::string_view purpose,
                                       int number) {
  pollfd waiting{.fd = source.fd(), .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, kProbeWithinMs) <= 0) return probe_trouble(purpose, ETIMEDOUT, number);
  const auto call = source.receive();
  if (!call || call->number != SYS_connect) return probe_trouble(purpose, EPROTO, number);
  const auto asked = read_value<sockaddr_in>(call->thread, call->arguments[1]);
  if (!asked) {
    return probe_trouble("read a child's memory (process_vm_readv)", asked.error(), number);
  }
  if (ntohs(asked->sin_port) != kProbePort) {
    return probe_trouble("read a child's memory", EPROTO, number);
  }
  return *call;
}

Failure probe_trouble(std::string_view what, int os_error, int number) {
  Error error = errno_error(what, os_error);
  error.kind = Kind::unsupported;
  error.number = number;
  return Failure(std::move(error));
}

}  // namespace shunt
