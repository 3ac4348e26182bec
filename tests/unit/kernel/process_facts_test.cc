// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/process_facts.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <thread>

namespace shunt {
namespace {

const std::string kId = std::string(12, 'a') + std::string(52, '0');
const std::string kShort = std::string(12, 'a');

TEST(ProcessFacts, cgroup_is_that_of_the_unified_hierarchy) {
  EXPECT_EQ(cgroup_path("12:memory:/x\n0::/user.slice/a\n"), "/user.slice/a");
  EXPECT_EQ(cgroup_path("0::/\n"), "/");
  EXPECT_EQ(cgroup_path("1:name=systemd:/x\n"), "");
}

TEST(ProcessFacts, unit_is_the_innermost) {
  EXPECT_EQ(unit_of("/system.slice/nginx.service"), "nginx.service");
  EXPECT_EQ(unit_of("/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope/sub"),
            "app-x.scope");
  EXPECT_EQ(unit_of("/system.slice"), "");
  EXPECT_EQ(unit_of("/"), "");
  EXPECT_EQ(unit_of(""), "");
}

TEST(ProcessFacts, container_is_told_by_its_id_or_name) {
  EXPECT_EQ(container_of("/system.slice/docker-" + kId + ".scope"), kShort);
  EXPECT_EQ(container_of("/machine.slice/libpod-" + kId + ".scope/container"), kShort);
  EXPECT_EQ(container_of("/docker/" + kId), kShort);
  EXPECT_EQ(container_of("/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + kId + ".scope"),
            kShort);
  EXPECT_EQ(container_of("/kubepods/besteffort/pod1/" + kId), kShort);
  EXPECT_EQ(container_of("/lxc.payload.web/system.slice/nginx.service"), "web");
  EXPECT_EQ(container_of("/machine.slice/machine-web.scope/payload"), "web");
  EXPECT_EQ(container_of("/system.slice/docker.service"), "");
  EXPECT_EQ(container_of("/user.slice/session-2.scope"), "");
}

TEST(ProcessFacts, this_process_is_known) {
  const ProcessFact fact = process_facts(::getpid());
  EXPECT_EQ(fact.state, FactState::known);
  EXPECT_EQ(fact.uid, ::geteuid());
  EXPECT_EQ(fact.gid, ::getegid());
  ASSERT_TRUE(fact.exe);
  EXPECT_NE(fact.exe->find("kernel_test"), std::string::npos);
  EXPECT_TRUE(fact.cgroup);
}

TEST(ProcessFacts, process_that_is_gone_has_none) {
  EXPECT_EQ(process_facts(999'999'999).state, FactState::never);
}

TEST(ProcessFacts, a_thread_is_its_process_under_its_processs_name) {
  CallingProcess found;
  pid_t number = 0;
  std::thread thread([&found, &number] {
    ::pthread_setname_np(::pthread_self(), "another");
    number = static_cast<pid_t>(::syscall(SYS_gettid));
    found = calling_process(number);
    EXPECT_EQ(process_of_thread(number), ::getpid());
  });
  thread.join();
  EXPECT_NE(number, ::getpid());
  EXPECT_EQ(found.pid, ::getpid());
  EXPECT_EQ(found.fact.name, "kernel_test");
  EXPECT_EQ(found.fact.uid, ::geteuid());
  EXPECT_EQ(calling_process(999'999'999).fact.state, FactState::never);
}

TEST(ProcessFacts, handlers_of_signals_are_known) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (int number = 1; number < 32; ++number) ::signal(number, SIG_DFL);
    const bool before = catches_signals(::getpid());
    ::signal(SIGALRM, [](int /*number*/) {});
    ::_exit(!before && catches_signals(::getpid()) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace shunt
