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

#include "base/error_numbers.h"
#include "base/error_record.h"
#include "base/limits.h"
#include "base/log.h"
#include "kernel/foreign_process.h"
#include "net/fd_passing.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr char kTaken = 'k';  // the answer to who enters; anything else is an error_record()

/// What who enters says of itself.
struct Entrance {
  pid_t process = 0;
  int listener = -1;  ///< its number there
};

RateLimitedLog unreadable;

/// The kernel's word for a process that forbids to be looked into (PR_SET_DUMPABLE) is EPERM.
int told(const TrappedCall& call, int os_error) {
  if (os_error != EPERM) return os_error;
  unreadable.warn("process " + std::to_string(call.thread) +
                  " does not let itself be looked into: its connections fail");
  return EPERM;
}

}  // namespace

CallCapture::CallCapture(CallCaptureOptions options, Parking parking,
                         std::shared_ptr<StandIns> stand_ins)
    : courses_(std::move(options.name_servers), options.through_proxy),
      own_listeners_(parking.places()),
      connects_(context_, std::move(parking), options.early),
      datagrams_(context_, std::move(stand_ins), courses_) {}

Result<std::shared_ptr<CallCapture>> CallCapture::create(CallCaptureOptions options) {
  auto parking = SHUNT_TRY(Parking::create());
  auto stand_ins = std::make_shared<StandIns>(CaptureMethod::seccomp);
  auto socket = SHUNT_TRY(stand_ins->listen());
  auto ends = SHUNT_TRY(make_record_channel());
  std::shared_ptr<CallCapture> capture(
      new CallCapture(std::move(options), std::move(parking), stand_ins));
  auto listener = std::make_shared<PlainListener>();
  listener->name = "seccomp";
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
  if (listener.fd < 0) return true;
  return ::poll(&listener, 1, 0) <= 0 || (listener.revents & POLLHUP) == 0;
}

Task<> CallCapture::run(SourceWorker worker) {
  context_.worker = std::move(worker);
  co_await await_listener();
  if (context_.trap.fd() >= 0) co_await serve_calls();
}

Task<> CallCapture::await_listener() {
  EventLoop& loop = *context_.worker.loop;
  const auto slot = loop.watch(channel_.get(), 0);
  if (!slot) co_return log(LogLevel::error, slot.error().text());
  slot_ = *slot;
  if (!context_.closing) (void)co_await loop.readable(**slot);
  slot_ = nullptr;
  loop.unwatch(channel_.get());
  if (context_.closing || loop.cancelled()) co_return;
  auto taken = take_listener();
  const std::string answer = taken ? std::string(1, kTaken) : error_record(taken.error());
  if (taken) {
    context_.trap = CallTrap(*std::move(taken));
    listener_ = context_.trap.fd();
  }
  (void)send_record(channel_.get(), answer);
}

Result<UniqueFd> CallCapture::take_listener() {
  Entrance entrance;
  if (::read(channel_.get(), &entrance, sizeof entrance) != sizeof entrance) {
    return Failure(errno_error("the command did not enter the capture", EPROTO));
  }
  auto taken = context_.processes.descriptor(entrance.process, entrance.listener);
  if (taken) return *std::move(taken);
  Error error = errno_error("take over the command's system calls", taken.error());
  error.kind = Kind::unsupported;
  error.number = error_number::kNoCallTrap;
  return Failure(std::move(error));
}

Task<> CallCapture::serve_calls() {
  EventLoop& loop = *context_.worker.loop;
  const auto slot = loop.watch(context_.trap.fd(), Slot::kReadable);
  if (!slot) co_return log(LogLevel::error, slot.error().text());
  slot_ = *slot;
  int in_a_row = 0;
  while (!context_.closing && !loop.cancelled()) {
    if (const auto call = context_.trap.receive()) {
      handle(*call);
      if (++in_a_row % limits::kAcceptBatch == 0) (void)co_await loop.yield();
      continue;
    }
    (*slot)->clear(Slot::kReadable);
    const Wake wake = co_await loop.readable(**slot);
    if (wake == Wake::ready && (*slot)->has(Slot::kFailed) && context_.trap.abandoned()) break;
  }
  slot_ = nullptr;
  loop.unwatch(context_.trap.fd());
}

void CallCapture::close() {
  context_.closing = true;
  if (slot_ != nullptr) context_.worker.loop->cancel(*slot_);
}

void CallCapture::handle(const TrappedCall& call) {
  give_answer(context_.trap, call.id, answer(call));
}

CallAnswer CallCapture::answer(const TrappedCall& call) {
  switch (call.number) {
    case SYS_connect: return connect(call);
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg: return send(call);
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
      return datagrams_.receives() ? datagrams_.receive(call) : CallAnswer::let_run();
    case SYS_getpeername: return peer_name(call);
    case SYS_getsockopt: return socket_error(call);
    default: return CallAnswer::error(ENOSYS);
  }
}

CallAnswer CallCapture::connect(const TrappedCall& call) {
  auto socket = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!socket) return CallAnswer::error(told(call, socket.error()));
  if (!socket->is_internet()) return CallAnswer::let_run();
  const auto asked = read_address(*socket, call.thread, call.arguments[1], call.arguments[2]);
  if (!asked) return CallAnswer::error(told(call, asked.error()));
  if (!context_.trap.waits(call.id)) return CallAnswer::later();
  if (!*asked) return connects_.disconnect(*socket);
  const Endpoint& destination = **asked;
  const SocketAddress as_asked(destination, socket->family());
  switch (courses_.of(destination)) {
    case Course::refused: return CallAnswer::error(EPERM);
    case Course::captured: break;
    case Course::native: return connects_.connect_natively(call, *std::move(socket), as_asked);
  }
  if (socket->is_tcp()) return connects_.connect(call, *std::move(socket), destination);
  if (socket->is_udp()) return datagrams_.connect(call, *socket, destination);
  return CallAnswer::error(ENETUNREACH);
}

CallAnswer CallCapture::send(const TrappedCall& call) {
  auto socket = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!socket) return CallAnswer::error(told(call, socket.error()));
  if (!socket->is_internet()) return CallAnswer::let_run();
  if (socket->type != SOCK_STREAM) return datagrams_.send(call, *std::move(socket));
  // The flags are in a register: nobody can change them any more.
  const int flags = static_cast<int>(call.arguments[call.number == SYS_sendmsg ? 2 : 3]);
  return (flags & MSG_FASTOPEN) != 0 ? CallAnswer::error(EOPNOTSUPP) : CallAnswer::let_run();
}

CallAnswer CallCapture::peer_name(const TrappedCall& call) {
  if (!connects_.has_peers() && !datagrams_.receives()) return CallAnswer::let_run();
  auto socket = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!socket || !socket->is_internet()) return CallAnswer::let_run();
  const auto peer = peer_endpoint(socket->fd.get());
  if (!peer) return CallAnswer::let_run();
  std::optional<Endpoint> shown;
  if (connects_.is_place(*peer)) {
    shown = connects_.peer_of(socket->cookie());
    if (!shown) return CallAnswer::error(ENOTCONN);
  } else {
    shown = datagrams_.meant_by(*peer);
    if (!shown) return CallAnswer::let_run();
  }
  if (!context_.trap.waits(call.id)) return CallAnswer::later();
  return CallAnswer::error(
      write_address(*socket, call.thread, *shown, call.arguments[1], call.arguments[2]));
}

CallAnswer CallCapture::socket_error(const TrappedCall& call) {
  if (!connects_.has_failures()) return CallAnswer::let_run();
  auto socket = TrappedSocket::open(context_.processes, call.thread, call.arguments[0]);
  if (!socket || !socket->is_internet()) return CallAnswer::let_run();
  const auto room = read_value<std::uint32_t>(call.thread, call.arguments[4]);
  if (!room || *room < sizeof(int) || !context_.trap.waits(call.id)) return CallAnswer::let_run();
  const auto failure = connects_.take_failure(*socket);
  if (!failure) return CallAnswer::let_run();
  const std::uint32_t size = sizeof *failure;
  const bool written = write_memory(call.thread, call.arguments[3], &*failure, size).has_value() &&
                       write_memory(call.thread, call.arguments[4], &size, sizeof size).has_value();
  return CallAnswer::error(written ? 0 : EFAULT);
}

// By write() and read(), which are not trapped.
Result<void> enter_call_capture(int door) {
  const auto listener = SHUNT_TRY(trap_network_calls());
  const Entrance entrance{.process = ::getpid(), .listener = listener.get()};
  if (::write(door, &entrance, sizeof entrance) != sizeof entrance) {
    return Failure(errno_error("enter the capture"));
  }
  std::array<char, kErrorRecordBytes + 1> answer{};
  const ssize_t got = ::read(door, answer.data(), answer.size());
  if (got <= 0) return Failure(errno_error("enter the capture", got < 0 ? errno : EPIPE));
  if (got == 1 && answer.front() == kTaken) return {};
  return Failure(error_from_record({answer.data(), static_cast<std::size_t>(got)}));
}

}  // namespace shunt
