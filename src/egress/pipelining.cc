// SPDX-License-Identifier: GPL-2.0-only
#include "egress/pipelining.h"

#include <sys/socket.h>

#include <cerrno>

#include "egress/dial.h"
#include "egress/upstream_socket.h"

namespace shunt {

using socks5::Method;

std::optional<Method> Pipelining::ahead() const {
  switch (verdict_.load(std::memory_order_relaxed)) {
    case Verdict::works_without: return Method::none;
    case Verdict::works_with_password: return Method::password;
    case Verdict::unknown:
    case Verdict::fails: break;
  }
  return std::nullopt;
}

void Pipelining::step_by_step_worked(const ProxyServer& server, const Endpoint& address,
                                     Method method) {
  // The probe speaks to the server itself: through another proxy or TLS there is none.
  if (server.through != nullptr || server.tls != nullptr) return;
  if (verdict_.load(std::memory_order_relaxed) != Verdict::unknown) return;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || verdict_.load(std::memory_order_relaxed) != Verdict::unknown) return;
  if (++flows_ < kFlowsBeforeProbe) return;
  if (!probe_.valid()) start(server, address, method);
  if (probe_.is_here()) look();  // else it is for the worker that made it
}

// The one upstream socket that the observer is not told of: it would have to be told of its end
// too, and this one may live as long as the way out. It carries the mark.
void Pipelining::start(const ProxyServer& server, const Endpoint& address, Method method) {
  auto fd = open_upstream_socket(address.address.family(), SocketType::stream, server.options);
  if (!fd) return;
  const SocketAddress to(address);
  if (::connect(fd->get(), to.get(), to.size()) != 0 && errno != EINPROGRESS) return;
  const bool password = method == Method::password && server.credentials;
  to_send_ = socks5::greeting(!password, password);
  if (password) {
    to_send_ += socks5::password_request(server.credentials->user, server.credentials->password);
  }
  to_send_ += socks5::request(socks5::Command::connect, {.domain = {}, .endpoint = {}});
  method_ = method;
  probe_ = std::move(*fd);
  deadline_.emplace(kProbeWaitMs);
}

void Pipelining::look() {
  if (!send_all()) return conclude(Verdict::fails);
  char buffer[512];
  const auto count = ::recv(probe_.get(), buffer, sizeof buffer, 0);
  if (count > 0) received_.append(buffer, static_cast<std::size_t>(count));
  if (const auto verdict = judge()) return conclude(*verdict);
  const bool waiting = count > 0 || (count < 0 && (errno == EAGAIN || errno == ENOTCONN));
  if (!waiting || deadline_->left_ms() == 0) conclude(Verdict::fails);
}

// False when the connection failed. While it is being made, send() answers EAGAIN.
bool Pipelining::send_all() {
  while (!to_send_.empty()) {
    const auto sent = ::send(probe_.get(), to_send_.data(), to_send_.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == ENOTCONN;
    to_send_.erase(0, static_cast<std::size_t>(sent));
  }
  return true;
}

std::optional<Pipelining::Verdict> Pipelining::judge() const {
  std::string_view rest = received_;
  const auto method = socks5::decode_method(rest);
  if (method.malformed()) return Verdict::fails;
  if (!method.complete()) return std::nullopt;
  if (method.value != method_) return Verdict::fails;
  rest.remove_prefix(method.size);
  if (method_ == Method::password) {
    const auto status = socks5::decode_password_reply(rest);
    if (!status.complete()) return std::nullopt;
    if (status.value != 0) return Verdict::fails;
    rest.remove_prefix(status.size);
  }
  const auto reply = socks5::decode_reply(rest);
  if (reply.malformed()) return Verdict::fails;
  if (!reply.complete()) return std::nullopt;
  return method_ == Method::password ? Verdict::works_with_password : Verdict::works_without;
}

void Pipelining::conclude(Verdict verdict) {
  verdict_.store(verdict, std::memory_order_relaxed);
  probe_.reset();
  to_send_.clear();
  received_.clear();
}

}  // namespace shunt
