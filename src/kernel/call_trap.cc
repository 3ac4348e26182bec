// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/call_trap.h"

#include <linux/seccomp.h>
#include <poll.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "base/error_numbers.h"
#include "kernel/capabilities.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262  // linux/in.h
#endif

namespace shunt {
namespace {

constexpr std::uint64_t kLow32 = 0xffffffff;  // of an argument that the kernel takes as an int

struct Release {
  void operator()(void* filter) const { ::seccomp_release(filter); }
};

scmp_arg_cmp masked(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

/// Several rules of one call mean "or"; the arguments of one rule, "and".
class Filter {
 public:
  Filter() : filter_(::seccomp_init(SCMP_ACT_ALLOW)) {
    // Each of the two filters leaves the architectures of the other alone.
    attribute(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
    attribute(SCMP_FLTATR_CTL_NNP, has_capability(CAP_SYS_ADMIN) ? 0 : 1);
  }
  void attribute(scmp_filter_attr name, std::uint32_t value) {
    note(::seccomp_attr_set(filter_.get(), name, value));
  }
  void only(std::initializer_list<std::uint32_t> architectures) {
    for (const std::uint32_t architecture : architectures) {
      note(::seccomp_arch_add(filter_.get(), architecture));
    }
    note(::seccomp_arch_remove(filter_.get(), SCMP_ARCH_NATIVE));
  }
  void rule(std::uint32_t action, const char* name,
            std::initializer_list<scmp_arg_cmp> arguments = {}) {
    const int number = ::seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) return;
    note(::seccomp_rule_add_array(filter_.get(), action, number,
                                  static_cast<unsigned>(arguments.size()), arguments.begin()));
  }
  Result<void> load() {
    if (error_ == 0) note(::seccomp_load(filter_.get()));
    if (error_ == 0) return {};
    Error error = errno_error("filter the command's system calls", -error_);
    error.kind = Kind::unsupported;
    error.number = error_number::kNoCallTrap;
    if (-error_ == EBUSY) {
      error.help = "another supervisor answers its system calls already: start it outside of that";
    }
    return Failure(std::move(error));
  }
  Result<UniqueFd> listener() {
    const int fd = ::seccomp_notify_fd(filter_.get());
    if (fd < 0) return Failure(errno_error("listen to the command's system calls", -fd));
    return UniqueFd(fd);
  }

 private:
  void note(int result) {
    if (error_ == 0 && result < 0) error_ = result;
  }
  std::unique_ptr<void, Release> filter_;
  int error_ = 0;
};

Result<void> refuse_other_architectures() {
  Filter filter;
#if defined(__x86_64__)
  filter.only({SCMP_ARCH_X86, SCMP_ARCH_X32});
#elif defined(__aarch64__)
  filter.only({SCMP_ARCH_ARM});
#else
  return {};
#endif
  for (const char* name : {"connect", "sendto", "sendmsg", "sendmmsg"}) {
    filter.rule(SCMP_ACT_ERRNO(EPERM), name);
  }
  filter.rule(SCMP_ACT_ERRNO(ENOSYS), "io_uring_setup");
  return filter.load();
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

bool CallTrap::abandoned() const { return polls(fd(), 0, POLLHUP); }

Result<UniqueFd> trap_network_calls() {
  SHUNT_CHECK(refuse_other_architectures());
  Filter filter;
  for (const char* name :
       {"connect", "sendmsg", "sendmmsg", "recvmsg", "recvmmsg", "getpeername"}) {
    filter.rule(SCMP_ACT_NOTIFY, name);
  }
  filter.rule(SCMP_ACT_NOTIFY, "sendto", {{4, SCMP_CMP_NE, 0, 0}});
  filter.rule(SCMP_ACT_NOTIFY, "sendto", {masked(3, MSG_FASTOPEN, MSG_FASTOPEN)});
  filter.rule(SCMP_ACT_NOTIFY, "recvfrom", {{4, SCMP_CMP_NE, 0, 0}});
  filter.rule(SCMP_ACT_NOTIFY, "getsockopt",
              {masked(1, kLow32, SOL_SOCKET), masked(2, kLow32, SO_ERROR)});
  filter.rule(SCMP_ACT_ERRNO(ENOSYS), "io_uring_setup");
  filter.rule(SCMP_ACT_ERRNO(EPROTONOSUPPORT), "socket", {masked(2, kLow32, IPPROTO_MPTCP)});
  SHUNT_CHECK(filter.load());
  return filter.listener();
}

}  // namespace shunt
