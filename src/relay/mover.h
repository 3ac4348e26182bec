// SPDX-License-Identifier: GPL-2.0-only
// The system calls of one direction, without any waiting: pull() takes what the sender's socket
// has, push() gives the receiver's socket what it can take.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "flow/tap.h"
#include "relay/relay.h"

namespace shunt {

enum class Pulled : std::uint8_t {
  data,             ///< something was taken; push() until pending() is false, then pull again
  again,            ///< nothing there; wait for the sender's socket to be readable
  end,              ///< FIN
  sender_failed,    ///< errno says how
  receiver_failed,  ///< something was taken and could not be sent; errno says why
  objected,         ///< something was taken, and the tap does not let it pass
};

/// What a bulk transfer may move before it yields.
[[nodiscard]] std::size_t turn_bytes(Company company);

class Mover {
 public:
  Mover(RelayResources& resources, WatchedFd& from, WatchedFd& to, Side side, Tap* tap)
      : resources_(resources),
        from_(from),
        to_(to),
        side_(side),
        tap_(tap),
        maybe_at_mark_(from.slot().has(Slot::kReadable)) {}
  ~Mover();
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  Pulled pull();
  /// False when the receiver's socket failed (errno). Leaves pending() true when it is full.
  bool push();
  [[nodiscard]] bool pending() const { return unsent_ != 0; }
  /// It splices: much has passed, and more will.
  [[nodiscard]] bool bulk() const { return pipe_.has_value(); }
  [[nodiscard]] std::uint64_t moved() const { return moved_; }  ///< bytes the receiver has taken

  /// Puts bytes that were read elsewhere in front: at most limits::kScratchBytes, and only before
  /// the first pull(). Answers as push() does.
  bool send_first(std::string_view bytes);

 private:
  Pulled pull_copy(std::size_t most);
  Pulled pull_splice();
  Pulled pull_careful();
  void count_waiting();
  ssize_t send_some(const char* bytes, std::size_t size);
  void send_on_without_delay();
  bool push_bytes(const char* bytes, std::size_t size);
  void enter_splice();
  void leave_splice();
  void keep(const char* bytes, std::size_t size);
  [[nodiscard]] std::uint64_t spliceable() const;

  RelayResources& resources_;
  WatchedFd& from_;
  WatchedFd& to_;
  Side side_;
  Tap* tap_;
  std::uint64_t moved_ = 0;
  std::size_t unsent_ = 0;        // in the block, or in the pipe
  std::size_t block_offset_ = 0;  // where in the block the unsent bytes begin
  BufferPool::Block block_;       // copy: holds unsent bytes while pending()
  std::optional<Pipe> pipe_;      // splice mode exactly while set
  int large_reads_ = 0;
  int small_moves_ = 0;
  bool urgent_ = false;  // EPOLLPRI was seen once: never splice again
  // The next read may begin at an urgent mark that EPOLLPRI has not announced yet: the first read
  // when kReadable was not epoll's word, and one that follows a full one, or a splice, without a
  // look at epoll between. A short read clears kReadable, so epoll is asked before the next.
  bool maybe_at_mark_;
  std::size_t counted_ = 0;  // what is still there of the bytes that FIONREAD last counted
  bool sending_urgent_ = false;
  bool has_sent_ = false;  // to the upstream, and once more: without delay since then
  bool without_delay_ = false;
  bool last_chunk_ = false;  // a FIN is known to follow: MSG_MORE lets it ride along
};

}  // namespace shunt
