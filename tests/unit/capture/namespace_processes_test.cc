// SPDX-License-Identifier: GPL-2.0-only
// Flows whose sockets are gone, in this process's own namespace.
#include "capture/namespace_processes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace shunt {
namespace {

void have_a_child() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
}

/// A process that has done `first` and then waits for its end.
class Command {
 public:
  explicit Command(void (*first)()) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::prctl(PR_SET_NAME, "the command) 0");
      first();
      [[maybe_unused]] const auto ignored = ::write(ready[1], "!", 1);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
  }
  ~Command() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

std::optional<ProcessInfo> whose_is_a_flow_without_socket(pid_t command) {
  const UniqueFd netns(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  UniqueFd diag(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  NamespaceProcesses processes(std::move(diag), netns.get(), 0);
  processes.set_command(command);
  Flow flow;
  flow.source = *Endpoint::parse("192.0.2.10:51514");
  flow.original_destination = *Endpoint::parse("198.51.100.7:443");
  return processes.lookup(flow);
}

TEST(NamespaceProcesses, flow_without_a_socket_is_the_commands_when_it_is_alone) {
  const Command command([] {});
  const auto found = whose_is_a_flow_without_socket(command.pid());
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name, "the command) 0");
  EXPECT_EQ(found->pid, command.pid());
}

TEST(NamespaceProcesses, flow_without_a_socket_may_be_anybodys_once_there_was_a_child) {
  const Command with_child([] {
    const pid_t parent = ::getpid();
    if (::fork() != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (::getppid() == parent) ::pause();  // it may be dead already
    ::_exit(0);
  });
  EXPECT_FALSE(whose_is_a_flow_without_socket(with_child.pid()).has_value());
  const Command widowed(have_a_child);
  EXPECT_FALSE(whose_is_a_flow_without_socket(widowed.pid()).has_value());
}

TEST(NamespaceProcesses, command_that_is_gone_has_no_name) {
  pid_t gone = 0;
  {
    const Command command([] {});
    gone = command.pid();
  }
  EXPECT_FALSE(whose_is_a_flow_without_socket(gone).has_value());
  EXPECT_FALSE(whose_is_a_flow_without_socket(0).has_value());
}

}  // namespace
}  // namespace shunt
