// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/process_facts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

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

}  // namespace
}  // namespace shunt
