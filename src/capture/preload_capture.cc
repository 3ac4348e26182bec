// SPDX-License-Identifier: GPL-2.0-only
#include "capture/preload_capture.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "base/counters.h"
#include "base/limits.h"
#include "base/log.h"
#include "capture/call_limits.h"
#include "capture/capture.h"
#include "kernel/process_environment.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr int kTries = 8;  // for a port that is free for UDP and TCP

shunt_preload_answer run_it() {
  shunt_preload_answer answer{};
  answer.verdict = SHUNT_PRELOAD_RUN;
  return answer;
}

shunt_preload_answer failed(int os_error) {
  shunt_preload_answer answer{};
  answer.error = os_error;
  return answer;
}

shunt_preload_answer shown(const SocketAddress& address) {
  shunt_preload_answer answer{};
  answer.address_size = address.size();
  std::memcpy(&answer.address, address.get(), address.size());
  return answer;
}

std::optional<Endpoint> endpoint_of(const PreloadRequest& request) {
  const bool v4 = request.address.ss_family == AF_INET;
  const bool v6 = request.address.ss_family == AF_INET6;
  const auto least = v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if ((!v4 && !v6) || request.address_size < least) return std::nullopt;
  return Endpoint::from(request.address);
}

/// 0 where it is in a pid namespace that this process does not see.
pid_t process_at(int connection) {
  ucred who{};
  socklen_t size = sizeof who;
  return ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 ? who.pid : 0;
}

Result<std::string> random_text() {
  PreloadToken bytes;
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return Failure(errno_error("getrandom"));
  }
  return token_text(bytes);
}

Result<UniqueFd> listen_for_requests(const std::string& name) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return Failure(errno_error("socket(AF_UNIX)"));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(name, address.sun_path + 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0) {
    return Failure(errno_error("listen to the library"));
  }
  return fd;
}

Result<UniqueFd> listen_for_streams(std::uint16_t port) {
  auto fd = SHUNT_TRY(make_socket(Family::ipv4, SocketType::stream));
  constexpr char kLoopback[] = "lo";
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, kLoopback, sizeof kLoopback) != 0) {
    return Failure(errno_error("bind a listener to lo"));
  }
  tune_relayed_tcp(fd.get());
  SHUNT_CHECK(bind_to(fd.get(), {.address = Address::any(Family::ipv4), .port = port}));
  if (::listen(fd.get(), SOMAXCONN) != 0) return Failure(errno_error("listen"));
  return fd;
}

}  // namespace

/// Stand-ins that resolvers' sockets may send to as well.
class PreloadCapture::Vouching final : public DatagramStandIns {
 public:
  explicit Vouching(PreloadCapture& capture) : capture_(capture) {}

  std::optional<Endpoint> meant_by(const Endpoint& received_at) override {
    received_at_ = received_at;
    return capture_.stand_ins_->meant_by(received_at);
  }
  bool is_client(const Endpoint& sender) override {
    if (capture_.stand_ins_->is_client(sender)) return true;
    const auto owner = capture_.resolvers_.owner(Protocol::udp, sender, received_at_);
    if (!owner) return false;
    capture_.owners_.note(Protocol::udp, sender, *owner);
    return true;
  }
  [[nodiscard]] CaptureMethod method() const override { return CaptureMethod::preload; }

 private:
  PreloadCapture& capture_;
  Endpoint received_at_;  // of the datagram whose sender is asked about next
};

PreloadCapture::PreloadCapture(CallCaptureOptions options, Parking parking,
                               std::shared_ptr<StandIns> stand_ins, ResolverSockets resolvers)
    : own_listeners_(parking.places()),
      stand_ins_(stand_ins),
      resolvers_(std::move(resolvers)),
      handlers_(context_, std::move(options), std::move(parking), std::move(stand_ins)) {}

Result<PreloadCapture::Sockets> PreloadCapture::open(StandIns& stand_ins) {
  Sockets sockets;
  for (int tries = 0; tries < kTries && !sockets.streams.valid(); ++tries) {
    sockets.datagrams = SHUNT_TRY(stand_ins.listen());
    if (auto streams = listen_for_streams(stand_ins.port())) sockets.streams = *std::move(streams);
  }
  if (!sockets.streams.valid()) return Failure(errno_error("listen on lo", EADDRINUSE));
  sockets.name = "shunt-preload-" + SHUNT_TRY(random_text());
  sockets.requests = SHUNT_TRY(listen_for_requests(sockets.name));
  return sockets;
}

Result<std::shared_ptr<PreloadCapture>> PreloadCapture::create(CallCaptureOptions options) {
  auto parking = SHUNT_TRY(Parking::create());
  auto stand_ins = std::make_shared<StandIns>(CaptureMethod::preload);
  auto sockets = SHUNT_TRY(open(*stand_ins));
  auto resolvers = SHUNT_TRY(ResolverSockets::create());
  std::shared_ptr<PreloadCapture> capture(new PreloadCapture(
      std::move(options), std::move(parking), std::move(stand_ins), std::move(resolvers)));
  auto& token = capture->token_;
  if (::getrandom(token.data(), token.size(), 0) != static_cast<ssize_t>(token.size())) {
    return Failure(errno_error("getrandom"));
  }
  capture->variable_ = fmt::format("{}:{}:{}:{}", static_cast<int>(SHUNT_PRELOAD_VERSION),
                                   sockets.name, token_text(token), capture->stand_ins_->port());
  auto listener = std::make_shared<PlainListener>();
  listener->name = "preload";
  listener->tcp = false;
  listener->udp = true;
  listener->stand_ins = std::make_shared<Vouching>(*capture);
  capture->datagram_listener_ = {.fd = std::move(sockets.datagrams),
                                 .listener = std::move(listener)};
  capture->sockets_ = std::move(sockets);
  return capture;
}

bool PreloadCapture::has_members() const {
  {
    const std::scoped_lock lock(mutex_);
    std::erase_if(members_, [](const auto& member) {
      pollfd ended{.fd = member.second.get(), .events = POLLIN, .revents = 0};
      return ::poll(&ended, 1, 0) != 0;
    });
    if (!members_.empty()) return true;
  }
  return any_process_has(fmt::format("{}={}", SHUNT_PRELOAD_VARIABLE, variable_));
}

bool PreloadCapture::has_loaded(pid_t process) const {
  const std::scoped_lock lock(mutex_);
  return members_.contains(process);
}

void PreloadCapture::note_member(pid_t process) {
  if (process <= 0) return;
  const std::scoped_lock lock(mutex_);
  if (members_.contains(process) || members_.size() >= limits::kPreloadMembers) return;
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
  if (pidfd.valid()) members_.emplace(process, std::move(pidfd));
}

Task<> PreloadCapture::run(SourceWorker worker) {
  context_.worker = std::move(worker);
  context_.worker.run(accept(sockets_.streams.get(), &PreloadCapture::begin_stream));
  co_await accept(sockets_.requests.get(), &PreloadCapture::begin_request);
}

Task<> PreloadCapture::accept(int listener, void (PreloadCapture::*begin)(UniqueFd)) {
  EventLoop& loop = *context_.worker.loop;
  const auto slot = loop.watch(listener, Slot::kReadable);
  if (!slot) co_return log(LogLevel::error, slot.error().text());
  waiting_.push_back(*slot);
  int in_a_row = 0;
  while (!context_.closing && !loop.cancelled()) {
    UniqueFd accepted(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (accepted.valid()) {
      (this->*begin)(std::move(accepted));
      if (++in_a_row % limits::kAcceptBatch == 0) (void)co_await loop.yield();
    } else if (errno == EAGAIN) {
      (*slot)->clear(Slot::kReadable);
      (void)co_await loop.readable(**slot);
    } else if (errno != EINTR && errno != ECONNABORTED) {
      (void)co_await loop.sleep(limits::kPreloadAcceptAgainMs);
    }
  }
  std::erase(waiting_, *slot);
  loop.unwatch(listener);
}

void PreloadCapture::begin_request(UniqueFd connection) {
  context_.worker.run(serve(std::move(connection)));
}

/// Of a resolver whose question, or its answer, was too long for a datagram.
void PreloadCapture::begin_stream(UniqueFd client) {
  const auto source = peer_endpoint(client.get());
  const auto received_at = local_endpoint(client.get());
  const auto meant =
      source && received_at ? stand_ins_->meant_by(*received_at) : std::optional<Endpoint>();
  const auto owner =
      meant ? resolvers_.owner(Protocol::tcp, *source, *received_at) : std::optional<pid_t>();
  if (!owner || !context_.worker.take_room()) return reset_on_close(client.get());
  owners_.note(Protocol::tcp, *source, *owner);
  Captured captured;
  captured.flow = {.protocol = Protocol::tcp,
                   .method = CaptureMethod::preload,
                   .source = *source,
                   .original_destination = *meant,
                   .started = Clock::now()};
  captured.client = accepted_client(std::move(client));
  context_.worker.start(std::move(captured));
}

Task<> PreloadCapture::serve(UniqueFd connection) {
  EventLoop& loop = *context_.worker.loop;
  const int fd = connection.get();
  auto record = receive_record(fd);
  if (!record && record.error().os_error == EAGAIN) {
    const auto slot = loop.watch(fd, 0);
    if (!slot) co_return;
    const Wake wake = co_await loop.readable(**slot, limits::kPreloadRequestMs);
    loop.unwatch(fd);
    if (wake != Wake::ready) co_return;
    record = receive_record(fd);
  }
  if (record) handle(std::move(connection), *std::move(record));
}

void PreloadCapture::close() {
  context_.closing = true;
  handlers_.close();
  for (Slot* slot : waiting_) context_.worker.loop->cancel(*slot);
}

void PreloadCapture::handle(UniqueFd connection, Record record) {
  const auto request = parse_preload_request(record.bytes);
  if (!request || !same_token(request->token, token_)) return;
  const pid_t process = process_at(connection.get());
  note_member(process);
  if (request->kind == SHUNT_PRELOAD_HELLO) return;
  if (request->kind == SHUNT_PRELOAD_CONNECT && !record.fds.empty()) {
    return connect(std::move(connection), *request,
                   TrappedSocket::of(std::move(record.fds.front())), process);
  }
  const auto answered = answer(*request, std::move(record.fds), process);
  (void)::send(connection.get(), &answered, sizeof answered, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void PreloadCapture::connect(UniqueFd connection, const PreloadRequest& request,
                             TrappedSocket socket, pid_t process) {
  const TrappedCall call{.id = calls_.add(std::move(connection)),
                         .thread = process,
                         .number = SYS_connect,
                         .arguments = {}};
  if (!socket.is_internet()) return (void)calls_.let_run(call.id);
  const auto asked = parse_address(socket, request.address, request.address_size);
  const auto answer =
      asked ? handlers_.connect(call, std::move(socket), *asked) : CallAnswer::error(asked.error());
  if (answer.kind == CallAnswer::Kind::later) return calls_.begun(call.id);
  (void)give_answer(calls_, call.id, answer);
}

shunt_preload_answer PreloadCapture::answer(const PreloadRequest& request,
                                            std::vector<UniqueFd> fds, pid_t process) {
  if (request.kind == SHUNT_PRELOAD_MEANT) return meant(request);
  if (request.kind == SHUNT_PRELOAD_LOOKUP) return lookup(request, process);
  if (fds.empty()) return failed(EBADF);
  const auto socket = TrappedSocket::of(std::move(fds.front()));
  if (!socket.is_internet()) return run_it();
  switch (request.kind) {
    case SHUNT_PRELOAD_DESTINATION: return destination(request, socket, process);
    case SHUNT_PRELOAD_PEER: return peer(socket);
    case SHUNT_PRELOAD_FAILURE: return failure(socket, process);
    default: return failed(ENOSYS);
  }
}

shunt_preload_answer PreloadCapture::destination(const PreloadRequest& request,
                                                 const TrappedSocket& socket, pid_t process) {
  TrappedDatagrams& datagrams = handlers_.datagrams();
  const auto way = datagrams.way_of(socket, request.address, request.address_size);
  if (!way) return failed(way.error());
  if (!way->captured) return run_it();
  // As the kernel would when it sends; now its address is known before anything arrives from it.
  const auto bound = local_endpoint(socket.fd.get());
  if (!bound || bound->port == 0) {
    const auto done = bind_to(socket.fd.get(), {.address = Address::any(socket.family())});
    if (!done) return failed(done.error().os_error);
  }
  datagrams.note(process, socket);
  shunt_preload_answer answer = shown(*way->address);
  answer.captured = 1;
  return answer;
}

shunt_preload_answer PreloadCapture::meant(const PreloadRequest& request) {
  const auto stand_in = endpoint_of(request);
  const auto meant = stand_in ? stand_ins_->meant_by(*stand_in) : std::nullopt;
  return meant ? shown(SocketAddress(*meant)) : run_it();
}

shunt_preload_answer PreloadCapture::peer(const TrappedSocket& socket) {
  const auto known = handlers_.shown_peer(socket);
  return known ? shown(SocketAddress(*known, socket.family())) : run_it();
}

shunt_preload_answer PreloadCapture::failure(const TrappedSocket& socket, pid_t process) {
  const auto known = handlers_.connects().failure_of(socket, process);
  if (!known) return run_it();
  handlers_.connects().forget_failure(socket, process);
  return failed(*known);
}

shunt_preload_answer PreloadCapture::lookup(const PreloadRequest& request, pid_t process) {
  auto server = endpoint_of(request);
  if (!server) return failed(EAFNOSUPPORT);
  resolvers_.will_ask(process);
  if (server->port == stand_ins_->port() && server->address.is_loopback()) {
    server = stand_ins_->meant_by(*server);  // led there before
    if (!server) return failed(EADDRNOTAVAIL);
  }
  switch (handlers_.courses().of(*server)) {
    case Course::native: return run_it();
    case Course::refused: return failed(EPERM);
    case Course::captured: break;
  }
  return shown(SocketAddress(stand_ins_->stand_in_for(*server)));
}

}  // namespace shunt
