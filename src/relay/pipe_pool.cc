// SPDX-License-Identifier: GPL-2.0-only
#include "relay/pipe_pool.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/counters.h"
#include "base/limits.h"

namespace shunt {

constexpr int kFdsPerPipe = 2;

std::optional<Pipe> PipePool::take() {
  if (!idle_.empty()) {
    Pipe pipe = std::move(idle_.back());
    idle_.pop_back();
    return pipe;
  }
  if (!allowance_.take_for_pipe(kFdsPerPipe)) {
    count(Counter::pipes_short);
    return std::nullopt;
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    allowance_.give_back(kFdsPerPipe);
    count(Counter::pipes_short);
    return std::nullopt;
  }
  // An ordinary user may own only so much pipe memory (fs.pipe-user-pages-soft, pipe(7)); a pipe
  // that stays at its 64 KiB works as well, a little slower.
  (void)::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(limits::kPipeBytes));
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

void PipePool::put(Pipe pipe) {
  if (idle_.size() >= limits::kPooledPipes) {
    discard(std::move(pipe));
    return;
  }
  idle_.push_back(std::move(pipe));
}

void PipePool::discard(Pipe pipe) {
  pipe = {};
  allowance_.give_back(kFdsPerPipe);
}

void PipePool::shrink() {
  if (idle_.empty()) return;
  allowance_.give_back(kFdsPerPipe * static_cast<int>(idle_.size()));
  idle_.clear();
}

}  // namespace shunt
