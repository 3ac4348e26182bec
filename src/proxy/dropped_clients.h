// SPDX-License-Identifier: GPL-2.0-only
// Clients that a rule drops and that were accepted already: they are to hear nothing more.
//
// A closed socket would not be silent: its next segment finds the listener, which answers with a
// reset. So the socket stays, with a socket filter that takes every segment away before TCP sees
// it (SO_ATTACH_FILTER, socket(7)): the client's data is not even acknowledged, as if the cable
// were cut. After limits::kDroppedClientMs, or when newer ones need the room, it is closed without
// a word: by TCP_REPAIR (net/ipv4/tcp.c, __tcp_close) where CAP_NET_ADMIN allows that, else with a
// reset. What the client sends after that is answered with a reset.
#pragma once

#include <list>

#include "net/event_loop.h"
#include "net/unique_fd.h"
#include "proxy/fd_budget.h"

namespace shunt {

/// Those of one worker. On its loop's thread.
class DroppedClients {
 public:
  DroppedClients(EventLoop& loop, FdBudget& budget);
  ~DroppedClients();
  DroppedClients(const DroppedClients&) = delete;
  DroppedClients& operator=(const DroppedClients&) = delete;

  /// Takes an accepted socket. One that is not valid is a client that was never let in.
  void take(UniqueFd client);
  /// Gives up all of them, and those that are still to come.
  void close();
  [[nodiscard]] std::size_t size() const { return clients_.size(); }

 private:
  struct Client {
    UniqueFd fd;
    Tick due;
  };
  struct Sweep : Timer {
    Sweep(DroppedClients* the_owner, Callback callback) : Timer(callback), owner(the_owner) {}
    DroppedClients* owner;
  };

  static void sweep(Timer& timer);
  void give_up_oldest();
  void arm();

  EventLoop& loop_;
  FdBudget& budget_;
  std::list<Client> clients_;  // the oldest first
  Sweep sweep_;
  bool open_ = true;
};

/// Closes a TCP socket so that its peer hears nothing, or where that is not allowed, a reset.
void close_silently(UniqueFd fd);

}  // namespace shunt
