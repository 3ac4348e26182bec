// SPDX-License-Identifier: GPL-2.0-only
// A test body that runs in a network namespace of its own, in a forked child: root makes a plain
// one, anybody else one inside a user namespace. The machine's own namespace is never touched: the
// child compares before it runs anything.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "kernel/netns.h"

namespace shunt {

/// What run_in_test_namespace() hands the body: failures are collected and brought out of the
/// child.
class Checks {
 public:
  void that(bool condition, std::string_view what) {
    if (!condition) failures_ += std::string(what) + "\n";
  }
  template <class T>
  bool ok(const Result<T>& result, std::string_view what) {
    that(result.has_value(), std::string(what) + ": " +
                                 (result ? "" : result.error().text() + " " + result.error().help));
    return result.has_value();
  }
  [[nodiscard]] const std::string& failures() const { return failures_; }

 private:
  std::string failures_;
};

/// "" where a network namespace can be made, else why not: skip with it.
inline std::string no_namespace_because() {
  static const std::string reason = [] {
    const auto tried =
        run_in_throwaway_namespace([]() -> Result<std::string> { return std::string("made"); });
    return tried ? std::string() : "needs namespaces: " + tried.error().text();
  }();
  return reason;
}

/// The same for TUN devices: udev opens /dev/net/tun to everybody, other hosts do not.
inline std::string no_tun_because() {
  return ::access("/dev/net/tun", R_OK | W_OK) == 0 ? "" : "needs tun: no access to /dev/net/tun";
}

/// Fails the current test with what the body found wrong.
inline void run_in_test_namespace(const std::function<void(Checks&)>& body) {
  if (const auto reason = no_namespace_because(); !reason.empty()) GTEST_SKIP() << reason;
  const auto original = network_namespace_id();
  ASSERT_TRUE(original.has_value());
  const auto failures = run_in_throwaway_namespace(
      [&]() -> Result<std::string> {
        if (network_namespace_id().value_or(*original) == *original) {
          return std::string("not in a namespace of its own");
        }
        Checks checks;
        body(checks);
        return checks.failures();
      },
      60'000);
  ASSERT_TRUE(failures.has_value()) << failures.error().text();
  EXPECT_EQ(*failures, "");
}

}  // namespace shunt
