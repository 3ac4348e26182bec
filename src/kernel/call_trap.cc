// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/call_trap.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <vector>

#include "base/error_numbers.h"
#include "kernel/call_tracer.h"
#include "kernel/foreign_process.h"
#include "kernel/traced_threads.h"
#include "kernel/trap_filter.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262  // linux/in.h
#endif
#ifndef AF_SMC
#define AF_SMC 43  // linux/socket.h
#endif

namespace shunt {
namespace {

struct CallRule {
  const char* name;
  std::vector<scmp_arg_cmp> arguments = {};
};

// Each of the two filters leaves the architectures of the other alone.
Result<void> refuse_others(const std::vector<CallRule>& calls) {
  TrapFilter filter;
#if defined(__x86_64__)
  filter.only({SCMP_ARCH_X86, SCMP_ARCH_X32});
#elif defined(__aarch64__)
  filter.only({SCMP_ARCH_ARM});
#else
  return {};
#endif
  for (const CallRule& call : calls) {
    filter.rule(SCMP_ACT_ERRNO(EPERM), call.name, call.arguments);
  }
  filter.rule(SCMP_ACT_ERRNO(ENOSYS), "io_uring_setup");
  return filter.load();
}

/// Sockets that carry bytes to other machines by IP, and that the calls which are trapped do not
/// deal with.
void refuse_other_streams(TrapFilter& filter) {
  filter.rule(SCMP_ACT_ERRNO(EPROTONOSUPPORT), "socket", {int_argument(2, IPPROTO_MPTCP)});
  for (const std::uint32_t family : {AF_INET, AF_INET6}) {
    for (const std::uint32_t protocol : {IPPROTO_SCTP, IPPROTO_DCCP}) {
      filter.rule(SCMP_ACT_ERRNO(EPROTONOSUPPORT), "socket",
                  {int_argument(0, family), int_argument(2, protocol)});
    }
  }
  for (const std::uint32_t family : {AF_SMC, AF_RDS, AF_RXRPC, AF_TIPC}) {
    filter.rule(SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", {int_argument(0, family)});
  }
}

/// Loaded. `action` is for the calls that are trapped.
Result<TrapFilter> filter_network_calls(std::uint32_t action) {
  SHUNT_CHECK(refuse_others({{"connect"}, {"sendto"}, {"sendmsg"}, {"sendmmsg"}}));
  TrapFilter filter;
  for (const char* name :
       {"connect", "sendmsg", "sendmmsg", "recvmsg", "recvmmsg", "getpeername"}) {
    filter.rule(action, name);
  }
  filter.rule(action, "sendto", {{4, SCMP_CMP_NE, 0, 0}});
  filter.rule(action, "sendto", {{3, SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, MSG_FASTOPEN}});
  filter.rule(action, "recvfrom", {{4, SCMP_CMP_NE, 0, 0}});
  filter.rule(action, "getsockopt", {int_argument(1, SOL_SOCKET), int_argument(2, SO_ERROR)});
  filter.rule(SCMP_ACT_ERRNO(ENOSYS), "io_uring_setup");
  refuse_other_streams(filter);
  SHUNT_CHECK(filter.load());
  return filter;
}

bool answer(int listener, const seccomp_notif_resp& response) {
  seccomp_notif_resp copy = response;
  int done = 0;
  do {
    done = ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &copy);
  } while (done != 0 && errno == EINTR);
  return done == 0;
}

bool polls(int fd, short events, short wanted) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & wanted) != 0;
}

}  // namespace

Result<void> CallTrap::take_over(pid_t process, int listener) {
  auto taken = ForeignProcesses().descriptor(process, listener);
  if (taken) {
    listener_ = *std::move(taken);
    return {};
  }
  Error error = errno_error("take over the command's system calls", taken.error());
  error.kind = Kind::unsupported;
  error.number = error_number::kNoCallTrap;
  return Failure(std::move(error));
}

std::optional<TrappedCall> CallTrap::receive() const {
  // NOTIF_RECV blocks where nothing waits, whatever the descriptor's flags are.
  while (polls(fd(), POLLIN, POLLIN)) {
    seccomp_notif notice{};
    if (::ioctl(fd(), SECCOMP_IOCTL_NOTIF_RECV, &notice) != 0) {
      if (errno == ENOENT || errno == EINTR) continue;  // it was killed meanwhile
      return std::nullopt;
    }
    TrappedCall call{
        .id = notice.id, .thread = static_cast<pid_t>(notice.pid), .number = notice.data.nr};
    std::ranges::copy(notice.data.args, call.arguments.begin());
    return call;
  }
  return std::nullopt;
}

bool CallTrap::waits(std::uint64_t id) const {
  return ::ioctl(fd(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

bool CallTrap::finish(std::uint64_t id, std::int64_t value) const {
  return answer(fd(), {.id = id, .val = value, .error = 0, .flags = 0});
}

bool CallTrap::fail(std::uint64_t id, int os_error) const {
  return answer(fd(), {.id = id, .val = 0, .error = -os_error, .flags = 0});
}

bool CallTrap::let_run(std::uint64_t id) const {
  return answer(fd(), {.id = id, .val = 0, .error = 0, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE});
}

bool CallTrap::hand_over(std::uint64_t id, int descriptor, bool close_on_exec) const {
  seccomp_notif_addfd added{.id = id,
                            .flags = SECCOMP_ADDFD_FLAG_SEND,
                            .srcfd = static_cast<std::uint32_t>(descriptor),
                            .newfd = 0,
                            .newfd_flags = close_on_exec ? O_CLOEXEC : 0U};
  int done = 0;
  do {
    done = ::ioctl(fd(), SECCOMP_IOCTL_NOTIF_ADDFD, &added);
  } while (done < 0 && (errno == EINTR || errno == EINPROGRESS));
  return done >= 0;
}

bool CallTrap::abandoned() const { return polls(fd(), 0, POLLHUP); }

Result<UniqueFd> trap_socket_calls(bool bind) {
  const std::vector<CallRule> sockets{{"socket", {int_argument(0, AF_INET)}},
                                      {"socket", {int_argument(0, AF_INET6)}}};
  auto refused = sockets;
  refused.push_back({"socketcall"});  // its arguments are in memory
  SHUNT_CHECK(refuse_others(refused));
  TrapFilter filter;
  for (const CallRule& call : sockets) {
    filter.rule(SCMP_ACT_NOTIFY, call.name, call.arguments);
  }
  if (bind) filter.rule(SCMP_ACT_NOTIFY, "bind");
  filter.rule(SCMP_ACT_ERRNO(ENOSYS), "io_uring_setup");
  SHUNT_CHECK(filter.load());
  return filter.listener();
}

Result<UniqueFd> trap_network_calls() {
  TrapFilter filter = SHUNT_TRY(filter_network_calls(SCMP_ACT_NOTIFY));
  return filter.listener();
}

Result<void> trace_network_calls() {
  const auto filter = filter_network_calls(SCMP_ACT_TRACE(kTraceCookie));
  if (filter) return {};
  Error error = filter.error();
  error.number = error_number::kNoCallTracer;
  return Failure(std::move(error));
}

}  // namespace shunt
