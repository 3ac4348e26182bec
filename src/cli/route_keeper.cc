// SPDX-License-Identifier: GPL-2.0-only
#include "cli/route_keeper.h"

#include <linux/capability.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <vector>

#include "base/error_record.h"
#include "capture/routed_sockets.h"
#include "cli/carrier_process.h"
#include "cli/companion.h"
#include "cli/options.h"
#include "cli/process_title.h"
#include "cli/route_request.h"
#include "cli/route_rules.h"
#include "kernel/call_trap.h"
#include "kernel/capabilities.h"
#include "kernel/foreign_process.h"
#include "kernel/resolver_file.h"
#include "kernel/syscall_filter.h"
#include "net/fd_passing.h"

namespace shunt::cli {
namespace {

constexpr int kGoneCheckMs = 500;  // how often to see whether anybody is left
constexpr char kListenerLetter = 'l';
constexpr char kTakenLetter = 't';

/// Marks, raw sockets for who may have them, the asker's user, and its memory for bind().
constexpr std::array kKept = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_SETUID, CAP_SETGID, CAP_SYS_PTRACE};

class RouteKeeper final : public Companion {
 public:
  explicit RouteKeeper(UniqueFd channel) : Companion(std::move(channel)) {}

  Result<void> set_up(const Options& options);
  void serve();
  void finish();

 private:
  void take_listener();
  [[nodiscard]] int watched() const { return sockets_ ? sockets_->fd() : door_.get(); }
  void work();

  RouteRequest request_;
  std::optional<RouteRules> rules_;
  UniqueFd door_;  // this end, until the command's process has come in
  std::optional<RoutedSockets> sockets_;
};

Result<void> give_up_privileges() {
  std::vector<int> kept;
  for (const int capability : kKept) {
    if (has_capability(capability)) kept.push_back(capability);
  }
  SHUNT_CHECK(keep_only(kept));
  SHUNT_CHECK(gain_no_privileges());
  return can_be_restricted() ? forbid_dumps() : Result<void>();
}

Result<void> RouteKeeper::set_up(const Options& options) {
  SHUNT_CHECK(watch_signals());
  request_ = SHUNT_TRY(parse_route_request(options));
  if (request_.sockets.has_source()) {
    SHUNT_CHECK(check_foreign_access("with CAP_SYS_PTRACE: sudo shunt route --source …"));
  }
  warn_of_dead_ends(request_);
  rules_ = SHUNT_TRY(RouteRules::create(request_));
  request_.sockets.mark = rules_->mark();
  SHUNT_CHECK(check_socket_route(request_.sockets));
  SHUNT_CHECK(give_up_privileges());
  auto [ours, theirs] = SHUNT_TRY(make_record_channel());
  door_ = std::move(ours);
  const std::array<char, 2> ready{kCarrierReady, 0};
  const std::array fds{theirs.get()};
  return send_record(channel(), {ready.data(), ready.size()}, fds);
}

void RouteKeeper::take_listener() {
  pollfd knocks{.fd = door_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&knocks, 1, 0) <= 0) return;
  auto record = receive_record(door_.get());
  if (!record || record->fds.empty()) {
    door_.reset();  // the command's process has ended, which the supervisor reports
    return;
  }
  sockets_.emplace(CallTrap(std::move(record->fds.front())), request_.sockets);
  (void)send_record(door_.get(), {&kTakenLetter, 1});
  door_.reset();
}

void RouteKeeper::work() {
  if (sockets_) {
    sockets_->answer();
  } else if (door_.valid()) {
    take_listener();
  }
}

void RouteKeeper::serve() {
  while (attend(watched(), -1)) work();
}

void RouteKeeper::finish() {
  if (!sockets_ || sockets_->abandoned()) {
    rules_.reset();
    return answer(kEnding);
  }
  let_go();  // jobs in the background
  while (!sockets_->abandoned() && attend_alone(watched(), kGoneCheckMs)) work();
}

}  // namespace

void keep_route(UniqueFd channel, const Options& options) {
  set_process_title("route-keeper");
  const int report = channel.get();
  leave_input_and_output();
  {
    RouteKeeper keeper(std::move(channel));
    if (const auto done = keeper.set_up(options); !done) {
      (void)send_record(report, kCarrierFailed + error_record(done.error()));
      ::_exit(1);
    }
    keeper.serve();
    keeper.finish();
  }
  ::_exit(0);
}

// The filter last: what comes before it makes sockets and mounts of its own.
Result<void> enter_route(const Options& options, const RunDoor& door) {
  const RouteRequest request = SHUNT_TRY(parse_route_request(options));
  if (!request.resolver_file.empty()) {
    SHUNT_CHECK(enter_own_resolver_file(request.resolver_file));
  }
  if (!request.by_sockets()) return {};
  const auto listener = SHUNT_TRY(trap_socket_calls(request.sockets.has_source()));
  const std::array fds{listener.get()};
  SHUNT_CHECK(send_record(door.fds.front().get(), {&kListenerLetter, 1}, fds));
  const auto answer = SHUNT_TRY(receive_record(door.fds.front().get()));
  if (!answer.bytes.empty()) return {};
  return Failure(make_error(Kind::runtime, "the process that makes the command's sockets died"));
}

}  // namespace shunt::cli
