// SPDX-License-Identifier: GPL-2.0-only
#include "cli/carrier.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error_record.h"
#include "cli/carrier_process.h"
#include "cli/report.h"
#include "net/fd_passing.h"

namespace shunt::cli {
namespace {

// The carrier answers within microseconds, or its own limits for lines; these are for its death.
constexpr int kAnswerWithinMs = 500;
constexpr int kLinesWithinMs = 3000;

bool send(int channel, const CarrierRequest& request) {
  const std::string_view bytes(reinterpret_cast<const char*>(&request), sizeof request);
  return send_record(channel, bytes).has_value();
}

char ask(int channel, const CarrierRequest& request, int within_ms) {
  if (!send(channel, request)) return 0;
  pollfd readable{.fd = channel, .events = POLLIN, .revents = 0};
  if (::poll(&readable, 1, within_ms) <= 0) return 0;
  const auto record = receive_record(channel);
  return record && !record->bytes.empty() ? record->bytes.front() : '\0';
}

}  // namespace

Result<Carrier> Carrier::start(const Options& options) {
  auto [ours, theirs] = SHUNT_TRY(make_record_channel());
  const pid_t carrier = ::fork();
  if (carrier < 0) return Failure(errno_error("fork"));
  if (carrier == 0) {
    ours.reset();
    carry(std::move(theirs), options);
  }
  theirs.reset();
  Carrier started;
  started.pid_ = carrier;
  auto record = SHUNT_TRY(receive_record(ours.get()));
  if (record.bytes.empty()) {
    return Failure(make_error(Kind::runtime, "the process that carries the traffic died"));
  }
  if (record.bytes.front() == kCarrierFailed) {
    ::waitpid(carrier, nullptr, 0);  // it has said its last word
    return Failure(error_from_record(std::string_view(record.bytes).substr(1)));
  }
  if (record.fds.empty() || record.bytes.size() < 2) {
    return Failure(errno_error("descriptors from the carrier", EPROTO));
  }
  started.door_.method = static_cast<RunMethod>(record.bytes[1]);
  started.door_.fds = std::move(record.fds);
  started.channel_ = std::move(ours);
  return started;
}

bool Carrier::saw_signal(int signal, pid_t sender) const {
  return ask(channel_.get(), {.letter = kWasItSeen, .signal = signal, .pid = sender},
             kAnswerWithinMs) == kSeen;
}

void Carrier::command_started(pid_t command) const {
  (void)send(channel_.get(), {.letter = kCommandStarted, .signal = 0, .pid = command});
}

void Carrier::about_to_stop(pid_t command) const {
  (void)send(channel_.get(), {.letter = kStopping, .signal = 0, .pid = command});
}

void Carrier::resumed() const {
  (void)send(channel_.get(), {.letter = kResumed, .signal = 0, .pid = 0});
}

void Carrier::check() {
  if (pid_ < 0 || ::waitpid(pid_, nullptr, WNOHANG) != pid_) return;
  pid_ = -1;
  report_warning("the process that carries the traffic ended unexpectedly",
                 "the command goes on without network; start it anew");
}

// Reaped here unless it stays: where process 1 reaps nobody, as in many containers, zombies of
// every run would add up.
void Carrier::command_ended() {
  const char answer =
      ask(channel_.get(), {.letter = kCommandEnded, .signal = 0, .pid = 0}, kLinesWithinMs);
  if (answer == kEnding && pid_ > 0) ::waitpid(pid_, nullptr, 0);
}

}  // namespace shunt::cli
