// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/syscall_filter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include "base/thread_signals.h"
#include "kernel/capabilities.h"
#include "kernel/netns.h"

namespace shunt {
namespace {

/// What `body` answers in a child that is filtered.
Result<std::string> filtered(const std::function<std::string()>& body) {
  return run_in_child([&]() -> Result<std::string> {
    SHUNT_CHECK(gain_no_privileges());
    SHUNT_CHECK(restrict_system_calls());
    return body();
  });
}

/// "" where every call fails with EPERM, else the ones that did not.
std::string not_refused(
    std::initializer_list<std::pair<const char*, std::function<long()>>> calls) {
  std::string wrong;
  for (const auto& [name, call] : calls) {
    errno = 0;
    if (call() >= 0 || errno != EPERM) wrong += fmt::format("{}: errno {}\n", name, errno);
  }
  return wrong;
}

class SyscallFilter : public testing::Test {
 protected:
  void SetUp() override {
    if (!can_be_restricted()) GTEST_SKIP() << "built with sanitizers, which need more calls";
  }
};

TEST_F(SyscallFilter, refuses_programs_processes_namespaces_and_tracing) {
  const auto answer = filtered([] {
    char* const nothing[] = {nullptr};
    return not_refused({
        {"execve", [&] { return ::execve("/bin/true", nothing, nothing); }},
        {"fork", [] { return static_cast<long>(::fork()); }},
        {"unshare", [] { return static_cast<long>(::unshare(CLONE_NEWUSER)); }},
        {"ptrace", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
        {"bpf", [] { return ::syscall(SYS_bpf, 0, nullptr, 0); }},
        {"kill", [] { return static_cast<long>(::kill(::getppid(), 0)); }},
        {"capset", [] { return ::syscall(SYS_capset, nullptr, nullptr); }},
        {"seccomp", [] { return ::syscall(SYS_seccomp, 0, 0, nullptr); }},
        {"process_vm_readv",
         [] { return ::syscall(SYS_process_vm_readv, 1, nullptr, 0, nullptr, 0, 0); }},
        {"no call at all", [] { return ::syscall(1000); }},
    });
  });
  ASSERT_TRUE(answer.has_value()) << answer.error().text();
  EXPECT_EQ(*answer, "");
}

TEST_F(SyscallFilter, looks_at_arguments) {
  const auto answer = filtered([] {
    return not_refused({
        {"AF_PACKET", [] { return static_cast<long>(::socket(AF_PACKET, SOCK_RAW, 0)); }},
        {"AF_VSOCK", [] { return static_cast<long>(::socket(AF_VSOCK, SOCK_STREAM, 0)); }},
        {"AF_INET, high bits",
         [] { return ::syscall(SYS_socket, AF_PACKET | (1UL << 40), SOCK_DGRAM, 0); }},
        {"writable code",
         [] {
           void* const at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
           return at == MAP_FAILED ? -1L : 0L;
         }},
        {"TIOCSTI", [] { return ::syscall(SYS_ioctl, 0, 0x5412, "x"); }},
        {"dumpable", [] { return static_cast<long>(::prctl(PR_SET_DUMPABLE, 1)); }},
        {"signal to another", [] { return ::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0); }},
        {"limits of another",
         [] { return ::syscall(SYS_prlimit64, ::getppid(), 0, nullptr, nullptr); }},
    });
  });
  ASSERT_TRUE(answer.has_value()) << answer.error().text();
  EXPECT_EQ(*answer, "");
}

TEST_F(SyscallFilter, leaves_threads_name_services_and_sockets) {
  const auto answer = filtered([]() -> std::string {
    bool ran = false;
    std::thread([&ran] {
      const sigset_t blocked = signals_for_main_thread();
      ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
      ran = ::unshare(CLONE_NEWNS) != 0 && errno == EPERM;  // and the handler can run there
    }).join();
    if (!ran) return "a thread";
    addrinfo* found = nullptr;
    if (::getaddrinfo("localhost", "80", nullptr, &found) != 0) return "getaddrinfo";
    ::freeaddrinfo(found);
    for (const int family : {AF_INET, AF_UNIX, AF_NETLINK}) {
      const int fd = ::socket(family, family == AF_NETLINK ? SOCK_RAW : SOCK_STREAM, 0);
      if (fd < 0) return fmt::format("socket of family {}: errno {}", family, errno);
      ::close(fd);
    }
    return "all";
  });
  ASSERT_TRUE(answer.has_value()) << answer.error().text();
  EXPECT_EQ(*answer, "all");
}

TEST_F(SyscallFilter, names_the_first_refused_call_of_each_kind) {
  testing::internal::CaptureStderr();
  const auto answer = filtered([]() -> std::string {
    for (int turn = 0; turn < 3; ++turn) (void)::unshare(CLONE_NEWNS);
    return "done";
  });
  const std::string said = testing::internal::GetCapturedStderr();
  ASSERT_TRUE(answer.has_value()) << answer.error().text();
  EXPECT_EQ(said, "shunt: warning: refused itself the system call unshare\n");
}

TEST_F(SyscallFilter, abort_still_ends_the_process) {
  const auto answer = filtered([]() -> std::string { std::abort(); });
  EXPECT_FALSE(answer.has_value());  // no EPERM, no endless loop: the child died
}

TEST(SyscallFilterList, names_no_call_twice) {
  auto names = std::vector(allowed_system_calls().begin(), allowed_system_calls().end());
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
}

}  // namespace
}  // namespace shunt
