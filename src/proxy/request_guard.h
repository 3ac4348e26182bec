// SPDX-License-Identifier: GPL-2.0-only
// A connection that was decided by its first request may carry others, of which the rules think
// otherwise (CVE-2009-0801). Each of them is decided anew; one whose verdict differs does not pass,
// and neither does what cannot be followed. Part of a head may have passed before the rest of it
// tells: a request that is never complete.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "proxy/decide_flow.h"
#include "sniff/http1.h"

namespace shunt {

class RequestGuard {
 public:
  /// For a flow whose first bytes had a say, else null. `decided` outlives it.
  static std::unique_ptr<RequestGuard> create(const DecidedFlow& decided);
  explicit RequestGuard(const DecidedFlow& decided);

  /// The client's bytes, in order.
  void see(std::string_view bytes);
  void skip(std::uint64_t count);
  [[nodiscard]] std::uint64_t uninteresting() const;
  /// What see() was just given must not pass.
  [[nodiscard]] bool objects() const { return state_ == State::objects; }
  /// The first bytes were HTTP: from the beginning nothing else may pass.
  [[nodiscard]] bool strict() const;

 private:
  enum class State : std::uint8_t { watching, objects, off };
  [[nodiscard]] bool permits(const HttpHead& head) const;
  [[nodiscard]] bool is_tied(const std::string& name) const;
  void object();

  const DecidedFlow& decided_;
  Http1Parser requests_{HttpKind::request};
  bool saw_request_ = false;
  State state_ = State::watching;
};

}  // namespace shunt
