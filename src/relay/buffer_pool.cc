// SPDX-License-Identifier: GPL-2.0-only
#include "relay/buffer_pool.h"

#include "base/limits.h"

namespace shunt {

constexpr std::size_t kIdleBlocks = 16;

BufferPool::Block BufferPool::take() {
  if (idle_.empty()) return std::make_unique_for_overwrite<char[]>(limits::kScratchBytes);
  Block block = std::move(idle_.back());
  idle_.pop_back();
  return block;
}

void BufferPool::put(Block block) {
  if (idle_.size() < kIdleBlocks) idle_.push_back(std::move(block));
}

}  // namespace shunt
