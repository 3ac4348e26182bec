// SPDX-License-Identifier: GPL-2.0-only
#include "observe/flow_memos.h"

#include <iterator>

#include "base/counters.h"
#include "base/limits.h"

namespace shunt {

FlowMemos::Memo& FlowMemos::of(const Flow& flow) {
  const auto [at, is_new] = memos_.try_emplace(flow.id);
  if (!is_new) return at->second;
  order_.push_back(flow.id);
  at->second.place = std::prev(order_.end());
  if (memos_.size() > limits::kLogFlows) {  // the end of some flow was dropped, an old one's likely
    forget(order_.front());
    count(Counter::log_flows_forgotten);
  }
  if (names_ != nullptr) at->second.process = names_->lookup(flow);
  return at->second;
}

void FlowMemos::forget(std::uint64_t flow_id) {
  const auto at = memos_.find(flow_id);
  if (at == memos_.end()) return;
  order_.erase(at->second.place);
  memos_.erase(at);
}

FlowMemos::Memo* FlowMemos::find(std::uint64_t flow_id) {
  const auto at = memos_.find(flow_id);
  return at == memos_.end() ? nullptr : &at->second;
}

}  // namespace shunt
