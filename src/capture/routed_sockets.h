// SPDX-License-Identifier: GPL-2.0-only
// The sockets of a command that is to leave by another way than the rest of the machine, with no
// proxy in its traffic (`shunt route`). Its socket() calls are trapped (kernel/call_trap.h); each
// socket is made here, where it gets its mark, interface and source address, and handed over. From
// then on it is the command's own and costs nothing more.
//
//   command: socket(AF_INET, …)  ->  here: socket(), SO_MARK, SO_BINDTODEVICE, bind()
//                                    handed over (SECCOMP_IOCTL_NOTIF_ADDFD)
//   command: bind(wildcard)      ->  here, where there is a source: bind(source, its port)
//
// The socket is as the command would have made it: it has its user and group (setfsuid(2)), and a
// raw one is made only for who may have one. A process that has entered another network namespace
// makes its own there.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "kernel/call_trap.h"
#include "kernel/foreign_process.h"
#include "net/endpoint.h"

namespace shunt {

/// What each socket gets.
struct SocketRoute {
  std::uint32_t mark = 0;      ///< SO_MARK; 0: none
  std::string interface = {};  ///< SO_BINDTODEVICE; "": none
  /// With one of the two, sockets of the other family are refused (EAFNOSUPPORT): they would leave
  /// with another address than the one asked for.
  std::optional<Address> source_v4 = {};
  std::optional<Address> source_v6 = {};

  [[nodiscard]] bool has_source() const { return source_v4 || source_v6; }
};

/// Makes a socket with the route and closes it: what the command's first one would fail with.
Result<void> check_socket_route(const SocketRoute& route);

/// Belongs to one thread.
class RoutedSockets {
 public:
  RoutedSockets(CallTrap trap, SocketRoute route);

  /// Readable when answer() has something to do.
  [[nodiscard]] int fd() const { return trap_.fd(); }
  /// Answers all calls that wait. Does not block.
  void answer();
  /// No process is left whose sockets are routed.
  [[nodiscard]] bool abandoned() const { return trap_.abandoned(); }

 private:
  void answer_socket(const TrappedCall& call);
  void answer_bind(const TrappedCall& call);
  /// The errno of bind(); nothing: it is not for us, the kernel shall do it.
  std::optional<int> bind_in_place(const TrappedCall& call);

  CallTrap trap_;
  SocketRoute route_;
  ForeignProcesses processes_;
  std::string own_network_;  // "net:[4026531840]", of /proc/PID/ns
  std::string own_user_;
};

}  // namespace shunt
