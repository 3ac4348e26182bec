// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>

#include "flow/flow.h"
#include "flow/process_names.h"

namespace shunt {

/// What the log remembers of live flows, at most limits::kLogFlows of them. Of the log's thread.
class FlowMemos {
 public:
  struct Memo {
    std::optional<ProcessInfo> process;
    std::string name;  ///< for the closing line; "" as long as nothing was recognised
    std::string via;
    bool announced = false;  ///< some line has shown that the flow exists

   private:
    friend class FlowMemos;
    std::list<std::uint64_t>::iterator place;
  };

  explicit FlowMemos(ProcessNames* names) : names_(names) {}
  /// Made, and its process looked up, when the flow is new. Valid until the next call.
  Memo& of(const Flow& flow);
  [[nodiscard]] Memo* find(std::uint64_t flow_id);
  void forget(std::uint64_t flow_id);

 private:
  ProcessNames* names_;
  std::unordered_map<std::uint64_t, Memo> memos_;
  std::list<std::uint64_t> order_;  // of their ids, the oldest first
};

}  // namespace shunt
