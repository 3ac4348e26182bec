// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/syscall_filter.h"

#include <linux/if_tun.h>
#include <linux/prctl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "base/limits.h"

namespace shunt {
namespace {

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41  // linux/prctl.h, Linux 5.17
#endif

// Names that an architecture does not have (aarch64 has no `open`) are passed over, and so are
// those that this libseccomp does not know. Grouped by what needs them.
constexpr auto kAllowed = std::to_array<std::string_view>(
    {// memory
     "brk", "madvise", "membarrier", "memfd_create", "mremap", "munmap",
     // threads
     "exit", "exit_group", "futex", "getcpu", "getpid", "getppid", "gettid", "restart_syscall",
     "rseq", "sched_getaffinity", "sched_yield", "set_robust_list",
     // signals
     "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigaltstack",
     "signalfd4",
     // time
     "clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "nanosleep", "time",
     "timerfd_create", "timerfd_gettime", "timerfd_settime",
     // waiting
     "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "poll",
     "ppoll", "pselect6", "select",
     // descriptors
     "close", "close_range", "dup", "dup2", "dup3", "fcntl", "pipe2", "pread64", "pwrite64", "read",
     "readv", "splice", "tee", "write", "writev",
     // files: the configuration and its lists, /proc, /proc/sys/net, logs, /run/shunt, name
     // services
     "access", "chmod", "faccessat", "faccessat2", "fadvise64", "fchmod", "fchmodat", "fdatasync",
     "flock", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd", "getdents64", "lseek", "lstat",
     "mkdir", "mkdirat", "newfstatat", "open", "openat", "openat2", "readlink", "readlinkat",
     "rename", "renameat", "renameat2", "rmdir", "stat", "statfs", "statx", "truncate", "unlink",
     "unlinkat",
     // sockets; of which families, see below
     "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen",
     "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
     // who and where one is
     "capget", "getegid", "geteuid", "getgid", "getgroups", "getrandom", "getresgid", "getresuid",
     "getrlimit", "getrusage", "getuid", "sysinfo", "uname"});

// AF_NETLINK: rules, routes, tables, whose socket is whose. AF_UNIX: control socket, service
// manager, system log, name services.
constexpr std::array kSocketFamilies = {AF_INET, AF_INET6, AF_NETLINK, AF_UNIX};

constexpr auto kIoctls = std::to_array<unsigned long>({
    TUNSETIFF, TUNGETIFF,                              // kernel/tun.h
    FIONREAD, SIOCATMARK, SIOCOUTQ,                    // relay/
    FIONBIO, SIOCGIFNAME, SIOCGIFINDEX, SIOCGIFFLAGS,  // sockets, if_nametoindex(3)
    TCGETS, TIOCGWINSZ                                 // isatty(3) and what follows from it
});

// libcap-ng asks for what the process has; threads name themselves; newer C libraries name memory.
constexpr std::array kPrctls = {PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ, PR_CAP_AMBIENT,
                                PR_SET_VMA};

constexpr std::uint64_t kNamespaces = CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS |
                                      CLONE_NEWPID | CLONE_NEWUSER | CLONE_NEWUTS;
constexpr std::uint64_t kLow32 = 0xffffffff;  // of an argument that the kernel takes as an int

struct Release {
  void operator()(void* filter) const { ::seccomp_release(filter); }
};

/// Collects the first failure of many additions.
class Filter {
 public:
  Filter() : filter_(::seccomp_init(SCMP_ACT_TRAP)) {}

  void allow(std::string_view name, std::initializer_list<scmp_arg_cmp> arguments = {}) {
    rule(SCMP_ACT_ALLOW, name, arguments);
  }
  void rule(std::uint32_t action, std::string_view name,
            std::initializer_list<scmp_arg_cmp> arguments = {}) {
    const int number = ::seccomp_syscall_resolve_name(std::string(name).c_str());
    if (number == __NR_SCMP_ERROR) return;
    note(::seccomp_rule_add_array(filter_.get(), action, number,
                                  static_cast<unsigned>(arguments.size()), arguments.begin()));
  }
  void attribute(scmp_filter_attr name, std::uint32_t value) {
    (void)::seccomp_attr_set(filter_.get(), name, value);  // an older library knows fewer
  }
  Result<void> load() {
    if (!filter_) return Failure(errno_error("make a filter of system calls", ENOMEM));
    if (error_ == 0) note(::seccomp_load(filter_.get()));
    if (error_ == 0) return {};
    Error error = errno_error("restrict the system calls", -error_);
    error.kind = Kind::unsupported;
    error.help = "a kernel with CONFIG_SECCOMP_FILTER";
    return Failure(std::move(error));
  }

 private:
  void note(int result) {
    if (error_ == 0 && result < 0) error_ = result;
  }
  std::unique_ptr<void, Release> filter_;
  int error_ = 0;
};

scmp_arg_cmp masked(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

void allow_by_argument(Filter& filter) {
  for (const int family : kSocketFamilies) {
    filter.allow("socket", {masked(0, kLow32, static_cast<std::uint64_t>(family))});
  }
  filter.allow("socketpair", {masked(0, kLow32, AF_UNIX)});
  for (const unsigned long request : kIoctls) {
    filter.allow("ioctl", {masked(1, kLow32, request)});
  }
  for (const int option : kPrctls) {
    filter.allow("prctl", {masked(0, kLow32, static_cast<std::uint64_t>(option))});
  }
  // Code comes from files alone: no memory is ever both written to and run.
  filter.allow("mmap", {masked(2, PROT_EXEC, 0)});
  filter.allow("mmap", {masked(2, PROT_WRITE, 0)});
  filter.allow("mprotect", {masked(2, PROT_EXEC, 0)});
  // Threads, no processes. clone3(2) has its flags in memory, where no filter sees them: the C
  // library falls back to clone(2) where the kernel does not know it.
  filter.allow("clone", {masked(0, CLONE_THREAD | kNamespaces, CLONE_THREAD)});
  filter.rule(SCMP_ACT_ERRNO(ENOSYS), "clone3");
  // Its own limits, and signals to itself: abort(3).
  filter.allow("prlimit64", {masked(0, kLow32, 0)});
  filter.allow("tgkill", {masked(0, kLow32, static_cast<std::uint64_t>(::getpid()))});
}

// What the handler of SIGSYS needs: it may not allocate.
constexpr std::size_t kNumbers = 1024;  // more than any architecture has
std::array<const char*, kNumbers> call_names{};
std::array<std::atomic<bool>, kNumbers> refused{};

void learn_names() {
  for (std::size_t number = 0; number < kNumbers; ++number) {
    if (call_names[number] != nullptr) continue;
    // Kept for ever.
    call_names[number] =
        ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(number));
  }
}

/// As log() would have it, which allocates.
void say_refused(std::size_t number) {
  constexpr std::string_view kBefore = "shunt: warning: refused itself the system call ";
  std::array<char, 160> line{};
  std::size_t size = kBefore.copy(line.data(), kBefore.size());
  if (const char* name = call_names[number]; name != nullptr) {
    const std::string_view text(name);
    size += text.copy(line.data() + size, 64);
  } else {
    std::array<char, 8> digits{};
    std::size_t count = 0;
    for (std::size_t rest = number; rest != 0 || count == 0; rest /= 10) {
      digits[count++] = static_cast<char>('0' + rest % 10);
    }
    while (count > 0) line[size++] = digits[--count];
  }
  line[size++] = '\n';
  [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, line.data(), size);
}

/// Stands for the call, which did not happen: its result is -EPERM.
void refuse(int /*signal*/, siginfo_t* info, void* context) {
  const int error_before = errno;
  const auto number = static_cast<std::size_t>(info->si_syscall);
  if (number < kNumbers && !refused[number].exchange(true)) say_refused(number);
  auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  machine.gregs[REG_RAX] = -EPERM;
#elif defined(__aarch64__)
  machine.regs[0] = static_cast<unsigned long long>(-EPERM);
#else
#error "which register is the result of a system call in?"
#endif
  errno = error_before;
}

Result<void> handle_refusals() {
  learn_names();
  struct sigaction action{};
  action.sa_sigaction = &refuse;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART;
  if (::sigaction(SIGSYS, &action, nullptr) != 0) return Failure(errno_error("sigaction(SIGSYS)"));
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGSYS);
  ::pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  return {};
}

}  // namespace

std::span<const std::string_view> allowed_system_calls() { return kAllowed; }

bool can_be_restricted() {
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
  return false;
#else
  return true;
#endif
}

Result<void> restrict_system_calls(const SystemCallNeeds& needs) {
  if (!can_be_restricted()) return {};
  SHUNT_CHECK(handle_refusals());
  Filter filter;
  for (const std::string_view name : kAllowed) filter.allow(name);
  if (needs.bpf) filter.allow("bpf");
  allow_by_argument(filter);
  filter.attribute(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);  // nothing is in use but ours
  filter.attribute(SCMP_FLTATR_CTL_TSYNC, 1);
  filter.attribute(SCMP_FLTATR_CTL_NNP, 0);       // the caller's business
  filter.attribute(SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary search instead of a long list
  // Older kernels would slow down every branch of a filtered process (spec_store_bypass), for fear
  // of foreign code in it. There is none.
  filter.attribute(SCMP_FLTATR_CTL_SSB, 1);
  return filter.load();
}

}  // namespace shunt
