// SPDX-License-Identifier: GPL-2.0-only
// What an instance of shunt takes over, in a namespace and with a RUN folder of the test's own, and
// a second process that does so and is killed.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "in_namespace.h"
#include "kernel/instance.h"
#include "kernel/links.h"
#include "kernel/nft.h"
#include "kernel/policy_route.h"
#include "kernel/sysctl.h"
#include "kernel/tun.h"

namespace shunt {

inline constexpr std::string_view kForward = "net/ipv4/ip_forward";

inline std::string value(std::string_view path) { return read_sysctl(path).value_or("?"); }

/// A RUN folder of its own for each test, in the child that runs the test.
inline std::string fresh_run_directory() {
  std::string name = testing::TempDir() + "shunt-run-XXXXXX";
  static_cast<void>(::mkdtemp(name.data()));
  ::setenv("SHUNT_RUN_DIR", name.c_str(), 1);
  return name;
}

inline void run_with_records(const std::function<void(Checks&)>& body) {
  run_in_test_namespace([&](Checks& check) {
    const auto run = fresh_run_directory();
    check.ok(set_link_up("lo"), "lo up");
    body(check);
    std::filesystem::remove_all(run);
  });
}

/// What a gateway puts into the kernel, with routes through "lo" so that no TUN is needed.
struct Takeover {
  Instance instance;
  std::vector<PolicyRoute> routes;
  std::vector<PolicyRule> rules;
  std::vector<NftTable> tables;
};

inline RouteSpec route_of(const Allotment& allotment, std::string interface) {
  return {
      .type = RouteType::local, .table = allotment.route_table, .interface = std::move(interface)};
}

inline RuleSpec rule_of(const Allotment& allotment) {
  return {.priority = allotment.first_priority,
          .mark = allotment.marks.own,
          .mask = allotment.marks.mask,
          .in_interface = "lo",
          .table = allotment.route_table};
}

inline Result<Takeover> take_over(std::string interface = "lo", bool closed = false) {
  Takeover takeover{
      .instance = SHUNT_TRY(Instance::create("test")), .routes = {}, .rules = {}, .tables = {}};
  const Allotment& allotment = takeover.instance.allotment();
  SHUNT_CHECK(takeover.instance.raise_sysctl(kForward, "1"));
  takeover.tables.push_back(SHUNT_TRY(NftTable::create(allotment.table_name, "")));
  if (closed) {
    takeover.tables.push_back(
        SHUNT_TRY(NftTable::create(allotment.closed_table_name, "", TableLifetime::persistent)));
  }
  takeover.routes.push_back(
      SHUNT_TRY(PolicyRoute::create(route_of(allotment, std::move(interface)))));
  takeover.rules.push_back(SHUNT_TRY(PolicyRule::create(rule_of(allotment))));
  return takeover;
}

/// A process that holds a takeover until it is killed.
class OtherShunt {
 public:
  explicit OtherShunt(bool with_tun = false, bool closed = false) {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      static std::optional<TunDevice> tun;
      if (with_tun) tun.emplace(std::move(*TunDevice::create()));
      static auto takeover = take_over(with_tun ? tun->name() : "lo", closed);
      const char answer = takeover ? '+' : '-';
      static_cast<void>(::write(ends[1], &answer, 1));
      while (true) ::pause();
    }
    ::close(ends[1]);
    char answer = '-';
    static_cast<void>(::read(ends[0], &answer, 1));
    ready_ = answer == '+';
    ::close(ends[0]);
  }
  ~OtherShunt() { kill(); }
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] pid_t pid() const { return pid_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

inline std::size_t tagged_rules() {
  const auto rules = list_rules(Family::ipv4).value_or(std::vector<RuleSpec>{});
  return static_cast<std::size_t>(std::ranges::count(rules, kRouteProtocol, &RuleSpec::protocol));
}

inline std::size_t tagged_routes() {
  return list_routes(Family::ipv4, 0, kRouteProtocol).value_or(std::vector<RouteSpec>{}).size();
}

inline bool table_exists(std::string_view name) {
  const auto tables = list_nft_tables();
  return tables && std::ranges::find(*tables, name, &NftTableInfo::name) != tables->end();
}

}  // namespace shunt
