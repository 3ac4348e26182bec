// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cerrno>
#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "capture/trapped_connects.h"
#include "flow/admission.h"

namespace shunt {

/// The client of a flow whose socket is parked. Belongs to the flow; when it goes unadmitted the
/// program is told that it was refused.
class TrappedConnects::Parked final : public Admission {
 public:
  /// `pending` is the flow's until lose(), or until the flow has told its outcome.
  Parked(TrappedConnects& owner, std::shared_ptr<Pending> pending, const Ends& ends);
  Parked(const Parked&) = delete;
  Parked& operator=(const Parked&) = delete;
  ~Parked() override { turn_away(ECONNREFUSED); }

  /// The program, or the kernel, has ended the socket's attempt: the flow is nobody's any more.
  void lose() { pending_.reset(); }

  Task<std::expected<UniqueFd, ConnectFailure>> admit() override;
  void refuse(const ConnectFailure& failure) override;
  UniqueFd drop() override;
  [[nodiscard]] int peekable_fd() const override { return -1; }
  [[nodiscard]] std::optional<std::string> arrival_interface() const override { return ""; }

 private:
  [[nodiscard]] bool is_here() const;
  [[nodiscard]] Task<> connected(int fd) const;
  std::expected<UniqueFd, ConnectFailure> fail_to_meet(int os_error);
  void turn_away(int os_error);
  void leave_to_kernel();
  std::shared_ptr<Pending> leave();

  TrappedConnects& owner_;
  std::shared_ptr<Pending> pending_;  // null: the flow is nobody's
  Ends ends_;
};

}  // namespace shunt
