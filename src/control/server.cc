// SPDX-License-Identifier: GPL-2.0-only
#include "control/server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "control/socket_path.h"

namespace shunt::control {
namespace {

constexpr int kBacklog = 16;
constexpr int kPauseMs = 20;

Result<void> watch(int poll, int fd) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  if (::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) != 0) return Failure(errno_error("epoll_ctl"));
  return {};
}

/// The mode keeps others out already; root may have changed it.
bool is_allowed(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == 0 || peer.uid == ::geteuid());
}

/// The whole answer fits the buffer of a socket on which nothing was sent before.
void send_answer(int fd, const Answer& answer) {
  const std::string bytes = encode(answer);
  (void)::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

Result<Server> Server::create(std::string path) {
  const auto address = SHUNT_TRY(SocketPath::create(path));
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return Failure(errno_error("socket(AF_UNIX)"));
  ::unlink(path.c_str());
  // bind(2) makes the file with the socket's own mode less the umask, so it is never wider.
  if (::fchmod(listener.get(), 0600) != 0 ||
      ::bind(listener.get(), address.get(), SocketPath::size()) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(listener.get(), kBacklog) != 0) {
    return Failure(errno_error(fmt::format("making the control socket {}", path)));
  }
  UniqueFd poll(::epoll_create1(EPOLL_CLOEXEC));
  if (!poll.valid()) return Failure(errno_error("epoll_create1"));
  SHUNT_CHECK(watch(poll.get(), listener.get()));
  return Server(std::move(path), std::move(listener), std::move(poll));
}

Server::~Server() {
  if (listener_.valid()) ::unlink(path_.c_str());
}

int Server::timeout_ms() const {
  if (clients_.empty()) return -1;
  const auto deadline = clients_.front().since + std::chrono::milliseconds(kPatienceMs);
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  return static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, kPatienceMs));
}

void Server::accept_clients() {
  for (int i = 0; i < kBacklog; ++i) {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) {
      if (errno == EMFILE || errno == ENFILE) make_room();
      return;
    }
    if (!is_allowed(fd.get()) || !watch(poll_.get(), fd.get())) continue;
    if (clients_.size() == kMostClients) clients_.erase(clients_.begin());
    clients_.push_back({.fd = std::move(fd), .since = Clock::now(), .received = {}});
  }
}

// Out of descriptors, and who waits to be accepted keeps fd() readable: the oldest client goes, or
// the caller's loop is held up for a moment so that it does not spin.
void Server::make_room() {
  if (clients_.empty()) {
    ::poll(nullptr, 0, kPauseMs);
  } else {
    clients_.erase(clients_.begin());
  }
}

bool Server::read_from(Client& client, const Handler& handler) {
  char buffer[kRequestBytes];
  const ssize_t count = ::recv(client.fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return false;
  client.received.append(buffer, static_cast<std::size_t>(count));
  const std::size_t end = client.received.find('\n');
  if (end == std::string::npos) return client.received.size() < kRequestBytes;
  send_answer(client.fd.get(), handler(words_of(client.received.substr(0, end))));
  return false;
}

void Server::serve(const Handler& handler) {
  accept_clients();
  const auto given_up = Clock::now() - std::chrono::milliseconds(kPatienceMs);
  std::erase_if(clients_, [&](Client& client) {
    return !read_from(client, handler) || client.since <= given_up;
  });
}

}  // namespace shunt::control
