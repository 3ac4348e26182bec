// SPDX-License-Identifier: GPL-2.0-only
#include "relay/mover.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/limits.h"
#include "net/socket.h"

namespace shunt {

// From linux/sockios.h, which clashes with the C library's headers.
#ifndef SIOCATMARK
constexpr unsigned long SIOCATMARK = 0x8905;
#endif

std::size_t turn_bytes(Company company) {
  switch (company) {
    case Company::now: return limits::kHurriedTurnBytes;
    case Company::lately: return limits::kCrowdedTurnBytes;
    case Company::none: break;
  }
  return limits::kTurnBytes;
}

Mover::~Mover() {
  if (pipe_) {
    if (unsent_ == 0) {
      resources_.pipes.put(std::move(*pipe_));
    } else {
      resources_.pipes.discard(std::move(*pipe_));
    }
  } else if (block_) {
    resources_.buffers.put(std::move(block_));
  }
}

Pulled Mover::pull() {
  if (from_.slot().has(Slot::kUrgent) && !urgent_) {
    urgent_ = true;
    leave_splice();
  }
  if (urgent_ || maybe_at_mark_) return pull_careful();
  return pipe_ ? pull_splice() : pull_copy(limits::kScratchBytes);
}

// With SO_OOBINLINE recv() stops short of the urgent mark (tcp(7)) but, begun at it, reads on
// beyond. So at the mark one byte alone is read, and sent with MSG_OOB. The mark of a byte is known
// once the byte is there: what was counted before the look at the mark can be read without a
// surprise. FIONREAD locks the socket and SIOCATMARK does not, so a count is used up first; but a
// read that may be short takes a fresh one, as pull_copy() makes much of it.
Pulled Mover::pull_careful() {
  maybe_at_mark_ = false;
  if (counted_ < limits::kScratchBytes) count_waiting();
  if (counted_ == 0) {
    if (from_.slot().has(Slot::kPeerClosed | Slot::kFailed)) return pull_copy(1);
    from_.slot().clear(Slot::kReadable);
    maybe_at_mark_ = true;
    return Pulled::again;
  }
  int at_mark = 0;
  if (::ioctl(from_.fd(), SIOCATMARK, &at_mark) != 0 || at_mark == 0) {
    if (pipe_) return pull_splice();
    return pull_copy(std::min(counted_, limits::kScratchBytes));
  }
  char byte = 0;
  if (::recv(from_.fd(), &byte, 1, 0) != 1) return Pulled::sender_failed;
  --counted_;
  urgent_ = true;
  leave_splice();
  sending_urgent_ = true;
  last_chunk_ = false;
  if (tap_ != nullptr) tap_->observe(side_, {&byte, 1});
  if (tap_ != nullptr && tap_->objects()) return Pulled::objected;
  return push_bytes(&byte, 1) ? Pulled::data : Pulled::receiver_failed;
}

void Mover::count_waiting() {
  int waiting = 0;
  ::ioctl(from_.fd(), FIONREAD, &waiting);
  counted_ = static_cast<std::size_t>(std::max(waiting, 0));
}

Pulled Mover::pull_copy(std::size_t most) {
  char* scratch = resources_.scratch.get();
  const ssize_t got = ::recv(from_.fd(), scratch, most, 0);
  if (got < 0) {
    if (errno != EAGAIN) return errno == EINTR ? Pulled::data : Pulled::sender_failed;
    from_.slot().clear(Slot::kReadable);
    return Pulled::again;
  }
  if (got == 0) return Pulled::end;
  const auto size = static_cast<std::size_t>(got);
  counted_ -= std::min(counted_, size);
  maybe_at_mark_ = size == limits::kScratchBytes;
  // A short read has emptied the queue: what comes later raises a new edge. Not so with a FIN,
  // urgent byte or error behind the data, whose edge may have been reported already.
  constexpr std::uint8_t kMoreToCome = Slot::kPeerClosed | Slot::kUrgent | Slot::kFailed;
  if (size < limits::kScratchBytes && !from_.slot().has(kMoreToCome)) {
    from_.slot().clear(Slot::kReadable);
  }
  last_chunk_ = size < limits::kScratchBytes && from_.slot().has(Slot::kPeerClosed);
  if (tap_ != nullptr) {
    if (const auto skip = tap_->uninteresting(side_); skip >= size) {
      tap_->skip(side_, size);
    } else {
      tap_->observe(side_, {scratch, size});
      if (tap_->objects()) return Pulled::objected;
    }
  }
  large_reads_ = size >= limits::kBulkReadBytes ? large_reads_ + 1 : 0;
  return push_bytes(scratch, size) ? Pulled::data : Pulled::receiver_failed;
}

Pulled Mover::pull_splice() {
  const std::size_t turn = turn_bytes(resources_.loop.company());
  const std::uint64_t most = std::min<std::uint64_t>({turn, limits::kPipeBytes, spliceable()});
  if (most < limits::kBulkReadBytes) {  // the tap wants to look soon
    leave_splice();
    return pull();
  }
  const ssize_t got = ::splice(from_.fd(), nullptr, pipe_->write_end.get(), nullptr, most,
                               SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (got < 0) {
    if (errno != EAGAIN) return errno == EINTR ? Pulled::data : Pulled::sender_failed;
    from_.slot().clear(Slot::kReadable);
    return Pulled::again;
  }
  if (got == 0) {  // the end, unless urgent data is in the way: recv() knows
    leave_splice();
    return pull();
  }
  counted_ = 0;
  unsent_ = static_cast<std::size_t>(got);
  if (tap_ != nullptr) tap_->skip(side_, unsent_);
  small_moves_ = unsent_ < limits::kSmallSpliceBytes ? small_moves_ + 1 : 0;
  return push() ? Pulled::data : Pulled::receiver_failed;
}

std::uint64_t Mover::spliceable() const {
  return tap_ == nullptr ? Tap::kEverything : tap_->uninteresting(side_);
}

void Mover::enter_splice() {
  if (urgent_ || spliceable() < limits::kPipeBytes) return;
  pipe_ = resources_.pipes.take();
  small_moves_ = 0;
}

void Mover::leave_splice() {
  if (!pipe_) return;
  resources_.pipes.put(std::move(*pipe_));  // pull() is only called with nothing unsent
  pipe_.reset();
  large_reads_ = 0;
  maybe_at_mark_ = true;  // splice() stops there, too
}

// Nagle's algorithm holds a small segment back while another small one is unacknowledged
// (tcp_nagle_check() in net/ipv4/tcp_output.c): never the first, which for many a flow is all.
void Mover::send_on_without_delay() {
  if (side_ != Side::client || without_delay_) return;
  without_delay_ = std::exchange(has_sent_, true);
  if (without_delay_) send_without_delay(to_.fd());
}

// A UNIX socket (between the relay and TLS) has urgent data only where the kernel was built with
// CONFIG_AF_UNIX_OOB; the byte then goes as any other.
ssize_t Mover::send_some(const char* bytes, std::size_t size) {
  send_on_without_delay();
  const int flags = MSG_NOSIGNAL | (last_chunk_ ? MSG_MORE : 0);
  const ssize_t sent = ::send(to_.fd(), bytes, size, flags | (sending_urgent_ ? MSG_OOB : 0));
  if (sent >= 0 || errno != EOPNOTSUPP || !sending_urgent_) return sent;
  sending_urgent_ = false;
  return ::send(to_.fd(), bytes, size, flags);
}

// Sends what it can at once and keeps the rest for push().
bool Mover::push_bytes(const char* bytes, std::size_t size) {
  ssize_t sent = send_some(bytes, size);
  if (sent < 0) {
    if (errno != EAGAIN && errno != EINTR) return false;
    sent = 0;
  }
  moved_ += static_cast<std::uint64_t>(sent);
  const auto rest = size - static_cast<std::size_t>(sent);
  if (rest != 0) {
    to_.slot().clear(Slot::kWritable);
    keep(bytes + sent, rest);
    return true;
  }
  sending_urgent_ = false;
  if (large_reads_ >= limits::kBulkReads && !pipe_) enter_splice();
  return true;
}

void Mover::keep(const char* bytes, std::size_t size) {
  block_ = resources_.buffers.take();
  std::memcpy(block_.get(), bytes, size);
  block_offset_ = 0;
  unsent_ = size;
}

bool Mover::push() {
  while (unsent_ != 0) {
    ssize_t sent = 0;
    if (pipe_) {
      sent = ::splice(pipe_->read_end.get(), nullptr, to_.fd(), nullptr, unsent_,
                      SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } else {
      sent = send_some(block_.get() + block_offset_, unsent_);
    }
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return false;
      to_.slot().clear(Slot::kWritable);
      return true;
    }
    moved_ += static_cast<std::uint64_t>(sent);
    unsent_ -= static_cast<std::size_t>(sent);
    block_offset_ += static_cast<std::size_t>(sent);
  }
  sending_urgent_ = false;
  if (block_) resources_.buffers.put(std::move(block_));
  if (pipe_ && small_moves_ >= limits::kSmallSplices) leave_splice();
  return true;
}

bool Mover::send_first(std::string_view bytes) {
  if (bytes.empty()) return true;
  if (tap_ != nullptr) tap_->observe(side_, bytes);
  return push_bytes(bytes.data(), bytes.size());
}

}  // namespace shunt
