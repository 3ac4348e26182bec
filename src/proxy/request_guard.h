// SPDX-License-Identifier: GPL-2.0-only
// A connection that was decided by its first bytes may carry requests of which the rules think
// otherwise (CVE-2009-0801): later ones of HTTP, or the first one of HTTP or TLS where the client
// was slower than the sniff wait. Each of them is decided anew; one whose verdict differs does not
// pass, and neither does what cannot be followed (of a client that was slow: where a rule might
// deny it, proxy/unread.h). Part of a head or hello may have passed before the rest of it tells: a
// request that is never complete.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/decide_flow.h"
#include "sniff/http1.h"
#include "sniff/tls.h"

namespace shunt {

class RequestGuard {
 public:
  /// For a flow whose first bytes had a say, else null. Both outlive it.
  static std::unique_ptr<RequestGuard> create(const DecidedFlow& decided, const Flow& flow);
  RequestGuard(const DecidedFlow& decided, const Flow& flow);

  /// The client's bytes, in order.
  void see(std::string_view bytes);
  void skip(std::uint64_t count);
  [[nodiscard]] std::uint64_t uninteresting() const;
  /// What see() was just given must not pass.
  [[nodiscard]] bool objects() const { return state_ == State::objects; }
  /// What it objects to is the request of that number, from 1.
  [[nodiscard]] bool refuses(std::uint32_t request) const {
    return objects() && !stopped_ && request == requests_seen_;
  }
  /// For the log: the flow as the rule that objects has it. Lives as long as this.
  [[nodiscard]] const Flow& refused() const { return refused_; }
  /// The first bytes were HTTP: it is looked at from the beginning, whoever speaks first.
  [[nodiscard]] bool strict() const;

 private:
  enum class State : std::uint8_t { watching, objects, off };
  void see_hello(std::string_view bytes);
  void see_requests(std::string_view bytes);
  void end_of_hello();
  void take_request(const HttpHead& head);
  void stop_requests();
  void judge_beginning();
  void judge_unread(AppProtocol begun);
  [[nodiscard]] Decision decide_anew(Facts& facts) const;
  [[nodiscard]] bool is_tied(const std::string& name) const;
  void object(std::uint32_t rule);

  const DecidedFlow& decided_;
  const Flow& flow_;
  Flow refused_;
  Http1Parser requests_{HttpKind::request};
  std::unique_ptr<TlsHelloReader> hello_;  // of a client that begins with TLS, while incomplete
  std::string beginning_;  // of what may be a first request; at most limits::kHttpHeadBytes
  bool begun_ = false;
  std::uint32_t requests_seen_ = 0;
  bool stopped_ = false;  // requests_ has: but what began may yet look like one
  State state_ = State::watching;
};

}  // namespace shunt
