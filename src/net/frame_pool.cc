// SPDX-License-Identifier: GPL-2.0-only
#include "net/frame_pool.h"

#include <cstdlib>
#include <new>

namespace shunt {
namespace {

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kPooled = false;  // let the sanitizer see each frame's life
#else
constexpr bool kPooled = true;
#endif

constexpr std::size_t kStep = 64;
constexpr std::size_t kClasses = 32;  // frames of up to 2 KiB

struct FreeFrame {
  FreeFrame* next;
};

constinit thread_local FreeFrame* free_frames[kClasses] = {};

std::size_t class_of(std::size_t size) { return (size + kStep - 1) / kStep - 1; }

// NOLINTBEGIN(cppcoreguidelines-no-malloc): this is the allocator
void* allocate(std::size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

void* allocate_frame(std::size_t size) {
  const std::size_t index = class_of(size);
  if (!kPooled || index >= kClasses) return allocate(size);
  FreeFrame*& head = free_frames[index];
  if (head == nullptr) return allocate((index + 1) * kStep);
  FreeFrame* frame = head;
  head = frame->next;
  return frame;
}

void free_frame(void* frame, std::size_t size) {
  const std::size_t index = class_of(size);
  if (!kPooled || index >= kClasses) {
    std::free(frame);
    return;
  }
  free_frames[index] = new (frame) FreeFrame{free_frames[index]};
}

void release_idle_frames() {
  for (FreeFrame*& head : free_frames) {
    while (head != nullptr) {
      FreeFrame* next = head->next;
      std::free(head);
      head = next;
    }
  }
}
// NOLINTEND(cppcoreguidelines-no-malloc)

}  // namespace shunt
