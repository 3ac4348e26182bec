// SPDX-License-Identifier: GPL-2.0-only
// The demo's network: three hosts, each a network namespace that lives as long as one small process
// of ours. Nothing has a name anywhere, so nothing can stay behind.
//
//   client 192.168.77.2 ──── lan0 gateway wan0 ──── server 198.51.100.2
//          fd00:77::2             wan1 │                   2001:db8:100::2
//                                      └─────────────────  203.0.113.2, 2001:db8:200::2
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/demo_process.h"

namespace shunt::cli {

class DemoHost {
 public:
  /// Yields a host whose loopback is up.
  static Result<DemoHost> create(std::string name);

  /// Runs a program on this host to its end, at most `timeout_ms`.
  struct Finished {
    int code = 0;
    std::string output;
  };
  Result<Finished> run(const Arguments& arguments, int timeout_ms, std::string_view input = {});
  /// Starts a program on this host.
  Result<DemoProcess> start(const Arguments& arguments, std::string_view input = {});
  /// The same as a user without any privilege.
  Result<DemoProcess> start_as_user(const Arguments& arguments);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] pid_t pid() const { return holder_pid_; }

 private:
  DemoHost() = default;
  std::string name_;
  pid_t holder_pid_ = -1;
  std::unique_ptr<DemoProcess> holder_;
  UniqueFd network_;
};

struct DemoLab {
  static constexpr std::string_view kServer4 = "198.51.100.2";
  static constexpr std::string_view kServer6 = "2001:db8:100::2";
  static constexpr std::string_view kGateway4 = "198.51.100.1";
  static constexpr std::string_view kGateway6 = "2001:db8:100::1";
  /// Of the second way to the server, by the gateway's wan1.
  static constexpr std::string_view kSecondServer4 = "203.0.113.2";
  static constexpr std::string_view kSecondServer6 = "2001:db8:200::2";
  static constexpr std::string_view kSecond4 = "203.0.113.1";
  static constexpr std::string_view kSecond6 = "2001:db8:200::1";
  static constexpr std::string_view kName = "www.shunt.example";
  /// A private tmpfs: files there vanish with the demo.
  static constexpr const char* kScratch = "/mnt";

  DemoHost client;
  DemoHost gateway;
  DemoHost server;

  /// Moves the calling process into namespaces of its own first: as root a mount namespace, else a
  /// user namespace too. Needs the program `ip`.
  static Result<DemoLab> create();
};

}  // namespace shunt::cli
