// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dropped_clients.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <utility>

#include "base/counters.h"
#include "base/limits.h"
#include "net/socket.h"

namespace shunt {
namespace {

/// Every segment that arrives is thrown away. Keepalive would find the peer dead by that.
bool make_deaf(int fd) {
  sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
  const sock_fprog program{.len = 1, .filter = &nothing};
  if (!set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 0, "SO_KEEPALIVE")) return false;
  return ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

}  // namespace

void close_silently(UniqueFd fd) {
  if (!set_option(fd.get(), IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON, "TCP_REPAIR")) {
    reset_on_close(fd.get());
  }
  fd.reset();
}

DroppedClients::DroppedClients(EventLoop& loop, FdBudget& budget)
    : loop_(loop), budget_(budget), sweep_(this, &DroppedClients::sweep) {}

DroppedClients::~DroppedClients() { close(); }

void DroppedClients::take(UniqueFd client) {
  if (!client.valid()) return;
  if (clients_.size() >= limits::kDroppedClients) {
    count(Counter::dropped_clients_given_up);
    give_up_oldest();
  }
  if (!open_ || !make_deaf(client.get()) || !budget_.take(1))
    return close_silently(std::move(client));
  clients_.push_back({.fd = std::move(client), .due = loop_.in(limits::kDroppedClientMs)});
  if (!sweep_.armed()) arm();
}

void DroppedClients::close() {
  open_ = false;
  loop_.timers().disarm(sweep_);
  while (!clients_.empty()) give_up_oldest();
}

void DroppedClients::give_up_oldest() {
  close_silently(std::move(clients_.front().fd));
  clients_.pop_front();
  budget_.give_back(1);
}

void DroppedClients::arm() { loop_.timers().arm(sweep_, clients_.front().due); }

void DroppedClients::sweep(Timer& timer) {
  DroppedClients& self = *static_cast<Sweep&>(timer).owner;
  while (!self.clients_.empty() && self.clients_.front().due <= self.loop_.now_tick()) {
    self.give_up_oldest();
  }
  if (!self.clients_.empty()) self.arm();
}

}  // namespace shunt
