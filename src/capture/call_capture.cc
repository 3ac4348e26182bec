// SPDX-License-Identifier: GPL-2.0-only
#include "capture/call_capture.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "base/error_record.h"
#include "base/limits.h"
#include "base/log.h"
#include "capture/call_limits.h"
#include "kernel/call_tracer.h"
#include "kernel/call_trap.h"
#include "kernel/foreign_process.h"
#include "kernel/process_facts.h"
#include "net/fd_passing.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr char kTaken = 'k';  // the answer to who enters; anything else is an error_record()

Result<std::unique_ptr<CallSource>> make_source(CaptureMethod method) {
  if (method != CaptureMethod::ptrace) return std::make_unique<CallTrap>();
  auto tracer = SHUNT_TRY(CallTracer::create());
  return tracer;
}

/// What who enters says of itself.
struct Entrance {
  pid_t process = 0;
  int listener = -1;  ///< its number there
};

/// The kernel's word for a process that forbids to be looked into (PR_SET_DUMPABLE) is EPERM.
CallAnswer unreadable(const TrappedCall& call, int os_error) {
  static RateLimitedLog log;
  if (os_error == EPERM) {
    const pid_t process = process_of_thread(call.thread).value_or(call.thread);
    log.warn("process " + std::to_string(process) +
             " does not let itself be looked into: its connections fail");
  }
  return CallAnswer::error(os_error);
}

}  // namespace

struct CallCapture::Parts {
  CaptureMethod method;
  CallCaptureOptions options;
  std::unique_ptr<CallSource> source;
  Parking parking;
  std::shared_ptr<StandIns> stand_ins;
};

CallCapture::CallCapture(Parts parts)
    : source_(std::move(parts.source)),
      trap_(*source_),
      context_{.method = parts.method, .calls = trap_, .owners = owners_},
      own_listeners_(parts.parking.places()),
      handlers_(context_, std::move(parts.options), std::move(parts.parking),
                std::move(parts.stand_ins)) {}

Result<std::shared_ptr<CallCapture>> CallCapture::create(CaptureMethod method,
                                                         CallCaptureOptions options) {
  auto source = SHUNT_TRY(make_source(method));
  auto parking = SHUNT_TRY(Parking::create());
  auto stand_ins = std::make_shared<StandIns>(method);
  auto socket = SHUNT_TRY(stand_ins->listen());
  auto ends = SHUNT_TRY(make_record_channel());
  std::shared_ptr<CallCapture> capture(new CallCapture({.method = method,
                                                        .options = std::move(options),
                                                        .source = std::move(source),
                                                        .parking = std::move(parking),
                                                        .stand_ins = stand_ins}));
  auto listener = std::make_shared<PlainListener>();
  listener->name = "calls";
  listener->tcp = false;
  listener->udp = true;
  listener->stand_ins = std::move(stand_ins);
  capture->datagram_listener_ = {.fd = std::move(socket), .listener = std::move(listener)};
  capture->channel_ = std::move(ends.first);
  capture->door_ = std::move(ends.second);
  return capture;
}

bool CallCapture::has_members() const {
  pollfd listener{.fd = listener_.load(), .events = 0, .revents = 0};
  if (listener.fd < 0) return false;
  // The last one's parent hears of its end before the tracer has said that nobody is left.
  const int patience_ms = context_.method == CaptureMethod::ptrace ? limits::kTracerLagMs : 0;
  return ::poll(&listener, 1, patience_ms) <= 0 || (listener.revents & POLLHUP) == 0;
}

Task<> CallCapture::run(SourceWorker worker) {
  context_.worker = std::move(worker);
  co_await await_command();
  if (listener_ >= 0) co_await serve_calls();
}

Task<> CallCapture::await_command() {
  EventLoop& loop = *context_.worker.loop;
  const auto slot = loop.watch(channel_.get(), 0);
  if (!slot) co_return log(LogLevel::error, slot.error().text());
  slot_ = *slot;
  if (!context_.closing) (void)co_await loop.readable(**slot);
  slot_ = nullptr;
  loop.unwatch(channel_.get());
  if (context_.closing || loop.cancelled()) co_return;
  const auto taken = take_over();
  if (taken) listener_ = trap_.fd();
  const std::string answer = taken ? std::string(1, kTaken) : error_record(taken.error());
  (void)send_record(channel_.get(), answer);
}

Result<void> CallCapture::take_over() {
  Entrance entrance;
  if (::read(channel_.get(), &entrance, sizeof entrance) != sizeof entrance) {
    return Failure(errno_error("the command did not enter the capture", EPROTO));
  }
  return trap_.take_over(entrance.process, entrance.listener);
}

Task<> CallCapture::serve_calls() {
  EventLoop& loop = *context_.worker.loop;
  const auto slot = loop.watch(trap_.fd(), Slot::kReadable);
  if (!slot) co_return log(LogLevel::error, slot.error().text());
  slot_ = *slot;
  while (!context_.closing && !loop.cancelled()) {
    if (const auto call = trap_.receive()) {
      handle(*call);
      if (++context_.work >= limits::kAcceptBatch) {
        context_.work = 0;
        (void)co_await loop.yield();
      }
      continue;
    }
    (*slot)->clear(Slot::kReadable);
    const Wake wake = co_await loop.readable(**slot);
    // The mark stays, and stands for errors as well; the kernel knows whether anybody is left.
    if (wake == Wake::ready && (*slot)->has(Slot::kFailed) && trap_.abandoned()) break;
  }
  slot_ = nullptr;
  loop.unwatch(trap_.fd());
}

void CallCapture::close() {
  context_.closing = true;
  handlers_.close();
  if (slot_ != nullptr) context_.worker.loop->cancel(*slot_);
}

void CallCapture::handle(const TrappedCall& call) { give_answer(trap_, call.id, answer(call)); }

CallAnswer CallCapture::answer(const TrappedCall& call) {
  switch (call.number) {
    case SYS_connect: return connect(call);
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg: return send(call);
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
      return handlers_.datagrams().receives() ? handlers_.datagrams().receive(call)
                                              : CallAnswer::let_run();
    case SYS_getpeername: return peer_name(call);
    case SYS_getsockopt: return socket_error(call);
    default: return CallAnswer::error(ENOSYS);
  }
}

CallAnswer CallCapture::connect(const TrappedCall& call) {
  auto socket = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!socket) return unreadable(call, socket.error());
  if (!socket->is_internet()) return CallAnswer::let_run();
  const auto asked = read_address(*socket, call.thread, call.arguments[1], call.arguments[2]);
  if (!asked) return unreadable(call, asked.error());
  if (!trap_.waits(call.id)) return CallAnswer::error(EINTR);
  return handlers_.connect(call, *std::move(socket), *asked);
}

CallAnswer CallCapture::send(const TrappedCall& call) {
  auto socket = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!socket) return unreadable(call, socket.error());
  if (!socket->is_internet()) return CallAnswer::let_run();
  if (!socket->is_tcp()) return handlers_.datagrams().send(call, *std::move(socket));
  // The flags are in a register: nobody can change them any more.
  const int flags = static_cast<int>(call.arguments[call.number == SYS_sendmsg ? 2 : 3]);
  return (flags & MSG_FASTOPEN) != 0 ? CallAnswer::error(EOPNOTSUPP) : CallAnswer::let_run();
}

CallAnswer CallCapture::peer_name(const TrappedCall& call) {
  if (!handlers_.connects().has_peers() && !handlers_.datagrams().receives()) {
    return CallAnswer::let_run();
  }
  auto socket = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!socket || !socket->is_internet()) return CallAnswer::let_run();
  const auto shown = handlers_.shown_peer(*socket);
  if (!shown) return CallAnswer::let_run();
  if (!trap_.waits(call.id)) return CallAnswer::error(EINTR);
  return CallAnswer::error(
      write_address(*socket, call.thread, *shown, call.arguments[1], call.arguments[2]));
}

CallAnswer CallCapture::socket_error(const TrappedCall& call) {
  if (!handlers_.connects().has_failures()) return CallAnswer::let_run();
  auto socket = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!socket || !socket->is_internet()) return CallAnswer::let_run();
  const auto room = read_value<std::uint32_t>(call.thread, call.arguments[4]);
  if (!room || *room < sizeof(int) || !trap_.waits(call.id)) return CallAnswer::let_run();
  TrappedConnects& connects = handlers_.connects();
  const auto failure = connects.failure_of(*socket, call.thread);
  if (!failure) return CallAnswer::let_run();
  const std::uint32_t size = sizeof *failure;
  const bool written = write_memory(call.thread, call.arguments[3], &*failure, size).has_value() &&
                       write_memory(call.thread, call.arguments[4], &size, sizeof size).has_value();
  if (!written) return CallAnswer::error(EFAULT);
  // It says so once; a signal may be faster.
  if (trap_.finish(call.id, 0)) connects.forget_failure(*socket, call.thread);
  return CallAnswer::later();
}

namespace {

/// Says who enters, and returns when that was taken over. By write() and read(), which are not
/// trapped.
Result<void> knock(int door, int listener) {
  const Entrance entrance{.process = ::getpid(), .listener = listener};
  if (::write(door, &entrance, sizeof entrance) != sizeof entrance) {
    return Failure(errno_error("enter the capture"));
  }
  std::array<char, kErrorRecordBytes + 1> answer{};
  const ssize_t got = ::read(door, answer.data(), answer.size());
  if (got <= 0) return Failure(errno_error("enter the capture", got < 0 ? errno : EPIPE));
  if (got == 1 && answer.front() == kTaken) return {};
  return Failure(error_from_record({answer.data(), static_cast<std::size_t>(got)}));
}

}  // namespace

Result<void> enter_call_capture(int door) {
  const auto listener = SHUNT_TRY(trap_network_calls());
  return knock(door, listener.get());
}

// Traced first: the calls of a process without a tracer fail.
Result<void> enter_traced_capture(int door) {
  ucred carrier{};
  socklen_t size = sizeof carrier;
  if (::getsockopt(door, SOL_SOCKET, SO_PEERCRED, &carrier, &size) != 0) {
    return Failure(errno_error("SO_PEERCRED"));
  }
  allow_tracing(carrier.pid);
  SHUNT_CHECK(knock(door, -1));
  return trace_network_calls();
}

}  // namespace shunt
