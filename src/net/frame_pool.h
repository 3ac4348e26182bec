// SPDX-License-Identifier: GPL-2.0-only
// Coroutine frames from per-thread free lists, by size in steps of 64 bytes. A frame larger than
// the largest class, and every frame under AddressSanitizer, comes from malloc.
#pragma once

#include <cstddef>

namespace shunt {

/// Never returns null: running out of memory aborts, as operator new does without exceptions.
[[nodiscard]] void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size);

/// Gives this thread's idle frames back; call at the end of a thread that ran coroutines.
void release_idle_frames();

}  // namespace shunt
