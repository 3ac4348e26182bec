// SPDX-License-Identifier: GPL-2.0-only
// The socket by which commands ask a running shunt: a unix stream socket, 0600, whose peers must be
// root or the user that shunt runs as. On the thread of the caller, who waits for fd(); nothing
// blocks, and nobody who connects can hold others up: a connection that has not asked within
// kPatienceMs is closed, and the oldest one makes room when there are kMostClients.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/message.h"
#include "net/unique_fd.h"

namespace shunt::control {

class Server {
 public:
  static constexpr std::size_t kMostClients = 4;
  static constexpr int kPatienceMs = 5000;

  /// Takes the words of a request. Its answer is sent at once.
  using Handler = std::function<Answer(const std::vector<std::string>& words)>;

  /// What lies at `path` (a socket that a killed shunt left) is replaced. The folder is the
  /// caller's own.
  static Result<Server> create(std::string path);
  Server(Server&& other) noexcept = default;
  Server& operator=(Server&&) = delete;
  /// Removes the socket.
  ~Server();

  /// Readable when serve() has something to do.
  [[nodiscard]] int fd() const { return poll_.get(); }
  /// How long until serve() should be called though fd() is not readable; -1: never.
  [[nodiscard]] int timeout_ms() const;
  void serve(const Handler& handler);

 private:
  using Clock = std::chrono::steady_clock;
  struct Client {
    UniqueFd fd;
    Clock::time_point since;
    std::string received;
  };

  Server(std::string path, UniqueFd listener, UniqueFd poll)
      : path_(std::move(path)), listener_(std::move(listener)), poll_(std::move(poll)) {}
  void accept_clients();
  void make_room();
  /// False when the client is done with.
  bool read_from(Client& client, const Handler& handler);

  std::string path_;
  UniqueFd listener_;
  UniqueFd poll_;
  std::vector<Client> clients_;  // the oldest first
};

}  // namespace shunt::control
