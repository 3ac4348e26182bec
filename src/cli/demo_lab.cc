// SPDX-License-Identifier: GPL-2.0-only
#include "cli/demo_lab.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/error_numbers.h"
#include "kernel/netns.h"

namespace shunt::cli {
namespace {

constexpr int kSetUpMs = 10'000;
constexpr uid_t kNobody = 65534;

bool in_user_namespace = false;  // of the demo's own, because it was not started as root

Result<void> prepare_process() {
  if (::geteuid() != 0) {
    SHUNT_CHECK(enter_user_namespace(0, 0));
    in_user_namespace = true;
  }
  if (::unshare(CLONE_NEWNS) != 0) return Failure(errno_error("cannot make a mount namespace"));
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", DemoLab::kScratch, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") != 0) {
    return Failure(errno_error("cannot mount a private directory for the demo"));
  }
  // The gateway keeps its state there too: the demo leaves no file on this machine.
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here has threads
  ::setenv("SHUNT_RUN_DIR", fmt::format("{}/run", DemoLab::kScratch).c_str(), 1);
  return {};
}

// From real root the usual way; inside the demo's own user namespace, where there is no second
// user to become, by one more user namespace.
bool become_user() {
  if (in_user_namespace) return enter_user_namespace(1000, 1000).has_value();
  return ::setgroups(0, nullptr) == 0 && ::setresgid(kNobody, kNobody, kNobody) == 0 &&
         ::setresuid(kNobody, kNobody, kNobody) == 0;
}

Result<void> ip(DemoHost& host, std::string_view batch) {
  const auto done = SHUNT_TRY(host.run({"ip", "-batch", "-"}, kSetUpMs, batch));
  if (done.code == 0) return {};
  return Failure(make_error(
      Kind::runtime, fmt::format("setting up the demo's {} failed: {}", host.name(), done.output)));
}

/// The gateway's second way to the server, which nothing takes by itself.
Result<void> connect_second(DemoLab& lab) {
  SHUNT_CHECK(ip(lab.gateway, fmt::format("link add wan1 type veth peer name eth1 netns {}\n"
                                          "addr add {}/24 dev wan1\naddr add {}/64 dev wan1 nodad\n"
                                          "link set wan1 up\n"
                                          "route add default via {} dev wan1 metric 5000\n"
                                          "route add default via {} dev wan1 metric 5000\n",
                                          lab.server.pid(), DemoLab::kSecond4, DemoLab::kSecond6,
                                          DemoLab::kSecondServer4, DemoLab::kSecondServer6)));
  // Answers come in by wan1 from addresses behind wan0: a strict rp_filter drops them.
  const auto loose = SHUNT_TRY(
      lab.gateway.run({"sh", "-c", "echo 2 > /proc/sys/net/ipv4/conf/wan1/rp_filter"}, kSetUpMs));
  if (loose.code != 0) {
    return Failure(make_error(Kind::runtime, "cannot set wan1's rp_filter: " + loose.output));
  }
  return ip(lab.server, fmt::format("addr add {}/24 dev eth1\naddr add {}/64 dev eth1 nodad\n"
                                    "link set eth1 up\n",
                                    DemoLab::kSecondServer4, DemoLab::kSecondServer6));
}

Result<void> connect_hosts(DemoLab& lab) {
  SHUNT_CHECK(
      ip(lab.gateway, fmt::format("link add lan0 type veth peer name eth0 netns {}\n"
                                  "link add wan0 type veth peer name eth0 netns {}\n"
                                  "addr add 192.168.77.1/24 dev lan0\n"
                                  "addr add fd00:77::1/64 dev lan0 nodad\n"
                                  "addr add {}/24 dev wan0\naddr add {}/64 dev wan0 nodad\n"
                                  "link set lan0 up\nlink set wan0 up\n"
                                  "route add default via {}\nroute add default via {}\n",
                                  lab.client.pid(), lab.server.pid(), DemoLab::kGateway4,
                                  DemoLab::kGateway6, DemoLab::kServer4, DemoLab::kServer6)));
  SHUNT_CHECK(ip(lab.client,
                 "addr add 192.168.77.2/24 dev eth0\naddr add fd00:77::2/64 dev eth0 nodad\n"
                 "link set eth0 up\nroute add default via 192.168.77.1\n"
                 "route add default via fd00:77::1\n"));
  return ip(lab.server, fmt::format("addr add {}/24 dev eth0\naddr add {}/64 dev eth0 nodad\n"
                                    "link set eth0 up\nroute add default via {}\n"
                                    "route add default via {}\n",
                                    DemoLab::kServer4, DemoLab::kServer6, DemoLab::kGateway4,
                                    DemoLab::kGateway6));
}

}  // namespace

Result<DemoHost> DemoHost::create(std::string name) {
  DemoHost host;
  host.name_ = std::move(name);
  // `ip` of the holder's own namespace is not needed once the shell waits for the demo's end.
  auto holder =
      SHUNT_TRY(DemoProcess::start({"sh", "-c", "ip link set lo up && echo $$ && exec sleep 3600"},
                                   [] { return ::unshare(CLONE_NEWNET) == 0; }));
  if (!holder.wait_for("\n", kSetUpMs)) {
    return Failure(make_error(Kind::unsupported, "cannot make a network namespace",
                              "shunt doctor says what this host lacks"));
  }
  host.holder_pid_ = static_cast<pid_t>(std::atoi(holder.take().c_str()));
  host.network_ = UniqueFd(
      ::open(fmt::format("/proc/{}/ns/net", host.holder_pid_).c_str(), O_RDONLY | O_CLOEXEC));
  if (!host.network_.valid()) return Failure(errno_error("cannot open the demo's namespace"));
  host.holder_ = std::make_unique<DemoProcess>(std::move(holder));
  return host;
}

Result<DemoProcess> DemoHost::start(const Arguments& arguments, std::string_view input) {
  return DemoProcess::start(
      arguments, [this] { return ::setns(network_.get(), CLONE_NEWNET) == 0; }, input);
}

Result<DemoProcess> DemoHost::start_as_user(const Arguments& arguments) {
  return DemoProcess::start(arguments, [this] {
    return ::setns(network_.get(), CLONE_NEWNET) == 0 && become_user() && ::chdir("/") == 0;
  });
}

Result<DemoHost::Finished> DemoHost::run(const Arguments& arguments, int timeout_ms,
                                         std::string_view input) {
  auto process = SHUNT_TRY(start(arguments, input));
  Finished finished;
  finished.code = process.wait(timeout_ms);
  finished.output = process.take();
  return finished;
}

Result<DemoLab> DemoLab::create() {
  if (!program_exists("ip") || !program_exists("nft")) {
    return Failure(make_error(Kind::unsupported, error_number::kMissingProgram,
                              "the demo builds its network with `ip` and inspects it with `nft`",
                              "sudo apt-get install iproute2 nftables"));
  }
  SHUNT_CHECK(prepare_process());
  auto client = SHUNT_TRY(DemoHost::create("client"));
  auto gateway = SHUNT_TRY(DemoHost::create("gateway"));
  auto server = SHUNT_TRY(DemoHost::create("server"));
  DemoLab lab{
      .client = std::move(client), .gateway = std::move(gateway), .server = std::move(server)};
  SHUNT_CHECK(connect_hosts(lab));
  SHUNT_CHECK(connect_second(lab));
  return lab;
}

}  // namespace shunt::cli
