// SPDX-License-Identifier: GPL-2.0-only
// Whether a SOCKS5 server can be sent its greeting, the credentials and the request at once, which
// saves one or two round trips for each connection.
//
// Nothing in RFC 1928 forbids it, but some servers read the greeting with one recv() and drop what
// came with it (microsocks), and then both sides wait. On a flow that hang looks like a slow
// destination, so flows are never the experiment. After a few flows have gone step by step, one
// probe connection sends everything at once, with a request that each server answers quickly
// (CONNECT to 0.0.0.0 port 0): an answer to it proves that the server can; silence or a closed
// connection, that it cannot. The probe is looked at in passing by later flows and never waited
// for. A flow sent ahead that breaks all the same is repeated step by step, and when that works,
// the server goes step by step for good.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "egress/proxy_link.h"
#include "egress/wire/socks5.h"
#include "net/unique_fd.h"

namespace shunt {

class Pipelining {
 public:
  /// Flows that must have worked before a probe; a single command seldom makes more.
  static constexpr int kFlowsBeforeProbe = 4;
  static constexpr std::uint32_t kProbeWaitMs = 2'000;

  /// What to authenticate with when everything is sent at once; empty: go step by step. Any thread.
  [[nodiscard]] std::optional<socks5::Method> ahead() const;
  /// A flow went step by step to its end, at `address`, with the method that the server chose. May
  /// start the probe or look at it; never blocks. Any thread.
  void step_by_step_worked(const ProxyServer& server, const Endpoint& address,
                           socks5::Method method);
  /// What was sent ahead broke, and going step by step did not. Any thread.
  void failed() { verdict_.store(Verdict::fails, std::memory_order_relaxed); }

 private:
  enum class Verdict : std::uint8_t { unknown, works_without, works_with_password, fails };

  void start(const ProxyServer& server, const Endpoint& address, socks5::Method method);
  void look();
  bool send_all();
  [[nodiscard]] std::optional<Verdict> judge() const;
  void conclude(Verdict verdict);

  std::atomic<Verdict> verdict_ = Verdict::unknown;
  std::mutex mutex_;  // everything below; contended only while the verdict is unknown
  int flows_ = 0;
  UniqueFd probe_;
  std::optional<Deadline> deadline_;
  socks5::Method method_ = socks5::Method::none;
  std::string to_send_;
  std::string received_;
};

}  // namespace shunt
