// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>

#include "proxy/decide_flow.h"
#include "relay/relay.h"

namespace shunt {

/// The TCP flows of one worker that were decided, and are being connected or carried, so that a
/// change of the rules can end those that it concerns. On the worker's thread.
class LiveFlows {
 public:
  /// Stands in the list as long as it lives; `decided` outlives it. Is ended from the beginning if
  /// the flow was being decided by older rules when end_changed() came.
  class Entry {
   public:
    Entry(LiveFlows& flows, const DecidedFlow& decided);
    ~Entry();
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    RelayEnder ender;  ///< to be given to the relay

   private:
    friend class LiveFlows;
    LiveFlows& flows_;
    const DecidedFlow& decided_;
    Entry* next_;
    Entry* previous_ = nullptr;
  };

  /// Ends what `policy` decides otherwise, by the facts that are known of each flow.
  void end_changed(const std::shared_ptr<const Policy>& policy);

 private:
  Entry* first_ = nullptr;
  // What end_changed() was last given, until no flow is decided by it any more: kept alive, it
  // would keep its ways out and what the kernel has for them.
  std::weak_ptr<const Policy> changed_;
};

/// Whether the verdict on a flow is another one under `policy`, with what is known of it. Not where
/// `policy` asks for what was not looked at when the flow began: it keeps its verdict then.
[[nodiscard]] bool verdict_changes(const Policy& old_policy, std::uint32_t old_rule,
                                   const Facts& facts, const Policy& policy);

}  // namespace shunt
