// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace shunt {

/// Blocks of limits::kScratchBytes for what a slow reader has not taken yet. A direction holds at
/// most one, and only while something is unsent; so an idle connection owns no buffer.
class BufferPool {
 public:
  using Block = std::unique_ptr<char[]>;
  Block take();
  void put(Block block);

 private:
  std::vector<Block> idle_;
};

}  // namespace shunt
