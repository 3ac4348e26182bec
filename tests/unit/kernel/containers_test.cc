// SPDX-License-Identifier: GPL-2.0-only
// State files as the engines write them, below a directory of the test's own.
#include "kernel/containers.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/error_numbers.h"

namespace shunt {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kId = "4f66ad9a1bd2c7b1f6e0c3a24f66ad9a1bd2c7b1f6e0c3a24f66ad9a1bd2c7b1";

class Engines : public testing::Test {
 protected:
  void SetUp() override {
    std::string made = testing::TempDir() + "containers-XXXXXX";
    ASSERT_NE(::mkdtemp(made.data()), nullptr);
    root_ = made;
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    const fs::path file = root_ + path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void docker(std::string_view name, pid_t pid, bool runs) const {
    write("/var/lib/docker/containers/" + std::string(kId) + "/config.v2.json",
          R"({"State":{"Running":)" + std::string(runs ? "true" : "false") + R"(,"Pid":)" +
              std::to_string(pid) + R"(},"ID":")" + std::string(kId) + R"(","Name":"/)" +
              std::string(name) + R"("})");
  }
  void podman(std::string_view name, pid_t pid) const {
    write("/var/lib/containers/storage/overlay-containers/containers.json",
          R"([{"id":"ffff","names":["other"]},{"id":")" + std::string(kId) +
              R"(","names":["alias",")" + std::string(name) + R"("]}])");
    if (pid == 0) return;
    write("/run/containers/storage/overlay-containers/" + std::string(kId) + "/userdata/pidfile",
          std::to_string(pid));
  }

  std::string root_;
};

TEST_F(Engines, container_of_docker_is_found_by_name_and_id) {
  docker("web", ::getpid(), true);
  for (const std::string_view word : {std::string_view("web"), kId, kId.substr(0, 12)}) {
    const auto found = find_container(word, root_);
    ASSERT_TRUE(found) << word;
    EXPECT_EQ(found->pid, ::getpid());
    EXPECT_EQ(found->id, kId);
    EXPECT_TRUE(found->cgroup.starts_with('/'));
  }
  EXPECT_FALSE(find_container("we", root_));
  EXPECT_FALSE(find_container(kId.substr(0, 5), root_));
}

TEST_F(Engines, container_of_podman_is_found_by_each_of_its_names) {
  podman("db", ::getpid());
  for (const std::string_view word : {std::string_view("db"), std::string_view("alias"), kId}) {
    ASSERT_TRUE(find_container(word, root_)) << word;
  }
  EXPECT_TRUE(find_container("alias", root_));
  EXPECT_EQ(find_container("db", root_)->pid, ::getpid());
}

TEST_F(Engines, one_that_does_not_run_or_is_not_there_is_said) {
  docker("web", ::getpid(), false);
  podman("db", 0);
  for (const std::string_view word : {"web", "db"}) {
    const auto found = find_container(word, root_);
    ASSERT_FALSE(found);
    EXPECT_TRUE(found.error().message.contains("does not run")) << found.error().message;
  }
  const auto none = find_container("nobody", root_);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().number, error_number::kBadTarget);
  EXPECT_TRUE(none.error().message.contains("no container \"nobody\""));
}

TEST(ContainerCgroup, ends_with_the_component_of_the_id) {
  EXPECT_EQ(container_cgroup("/system.slice/docker-abc.scope", "abc"),
            "/system.slice/docker-abc.scope");
  EXPECT_EQ(container_cgroup("/machine.slice/libpod-abc.scope/container/x", "abc"),
            "/machine.slice/libpod-abc.scope");
  EXPECT_EQ(container_cgroup("/a/b", "abc"), "/a/b");
  EXPECT_EQ(container_cgroup("/a/b", ""), "/a/b");
}

}  // namespace
}  // namespace shunt
