// SPDX-License-Identifier: GPL-2.0-only
#include "capture/parked_client.h"

#include <sys/socket.h>

#include <utility>

#include "base/counters.h"
#include "base/limits.h"
#include "net/socket.h"
#include "net/socket_state.h"

namespace shunt {
namespace {

ConnectFailure gone(bool stopping) {
  const auto reason = stopping ? ConnectReason::cancelled : ConnectReason::client_gone;
  if (!stopping) count(Counter::held_clients_gone);
  return {.reason = reason, .os_error = 0, .detail = {}};
}

/// "Refused" would send people to the server for what this machine has no more of.
int program_errno(const ConnectFailure& failure) {
  if (failure.reason != ConnectReason::resources) return reason_errno(failure.reason);
  return failure.os_error == EADDRNOTAVAIL ? EADDRNOTAVAIL : ENOBUFS;
}

}  // namespace

TrappedConnects::Parked::Parked(TrappedConnects& owner, std::shared_ptr<Pending> pending,
                                const Ends& ends)
    : owner_(owner), pending_(std::move(pending)), ends_(ends) {
  pending_->parked = this;
}

Task<std::expected<UniqueFd, ConnectFailure>> TrappedConnects::Parked::admit() {
  UniqueFd ours;
  if (is_here()) {
    auto begun = Parking::meet(ends_.client, ends_.place);
    if (!begun) co_return fail_to_meet(begun.error().os_error);
    ours = *std::move(begun);
    if (!is_connected(ours.get())) co_await connected(ours.get());
  }
  if (pending_ == nullptr || !ours.valid() || !is_connected(ours.get())) {
    const bool stopping = owner_.context_.closing;
    turn_away(ECONNREFUSED);
    co_return std::unexpected(gone(stopping));
  }
  const auto pending = leave();
  owner_.conclude(pending->connect);
  co_return ours;
}

void TrappedConnects::Parked::refuse(const ConnectFailure& failure) {
  // That we had enough is no outcome: the program's kernel has patience of its own.
  const bool no_answer = failure.reason == ConnectReason::timed_out && failure.os_error == 0;
  if (no_answer) return (void)drop();
  turn_away(program_errno(failure));
}

UniqueFd TrappedConnects::Parked::drop() {
  if (pending_ != nullptr) leave_to_kernel();
  return {};
}

bool TrappedConnects::Parked::is_here() const {
  return pending_ != nullptr && is_connecting(pending_->connect.fd());
}

Task<> TrappedConnects::Parked::connected(int fd) const {
  EventLoop& loop = *owner_.context_.worker.loop;
  const auto slot = loop.watch(fd, 0);
  if (!slot) co_return;
  (void)co_await loop.writable(**slot, limits::kHeldAdmitMs);
  loop.unwatch(fd);
}

std::expected<UniqueFd, ConnectFailure> TrappedConnects::Parked::fail_to_meet(int os_error) {
  auto failure = failure_from_errno(os_error);
  turn_away(program_errno(failure));
  return std::unexpected(std::move(failure));
}

// Disconnecting wakes whoever polls. The kernel's own word for it would be ECONNRESET.
void TrappedConnects::Parked::turn_away(int os_error) {
  if (pending_ == nullptr) return;
  if (!is_here()) return leave_to_kernel();
  const auto pending = leave();
  PendingConnect& connect = pending->connect;
  ::shutdown(connect.fd(), SHUT_RDWR);
  if (connect.answer(os_error)) {
    (void)pending_error(connect.fd());
  } else {
    owner_.owe(connect.cookie(), os_error);
  }
}

void TrappedConnects::Parked::leave_to_kernel() {
  const auto pending = std::exchange(pending_, nullptr);
  pending->parked = nullptr;
  owner_.wake(*pending);
}

std::shared_ptr<TrappedConnects::Pending> TrappedConnects::Parked::leave() {
  auto pending = std::exchange(pending_, nullptr);
  pending->parked = nullptr;
  owner_.leave(*pending);
  return pending;
}

}  // namespace shunt
