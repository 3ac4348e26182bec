// SPDX-License-Identifier: GPL-2.0-only
#include "observe/flow_memos.h"

#include "base/counters.h"
#include "base/limits.h"

namespace shunt {

FlowMemos::Memo& FlowMemos::of(const Flow& flow) {
  const auto [at, is_new] = memos_.try_emplace(flow.id);
  if (!is_new) return at->second;
  if (memos_.size() > limits::kLogFlows) {  // the end of some flow was dropped: any may go
    const auto first = memos_.begin();
    memos_.erase(first->first == flow.id ? std::next(first) : first);
    count(Counter::log_flows_forgotten);
  }
  if (names_ != nullptr) at->second.process = names_->lookup(flow);
  return at->second;
}

FlowMemos::Memo* FlowMemos::find(std::uint64_t flow_id) {
  const auto at = memos_.find(flow_id);
  return at == memos_.end() ? nullptr : &at->second;
}

}  // namespace shunt
