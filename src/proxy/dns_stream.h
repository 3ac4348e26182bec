// SPDX-License-Identifier: GPL-2.0-only
// Questions to one server over TCP or TLS (RFC 7766, RFC 7858): one connection that is kept while
// it is used, questions one behind the other without waiting for answers, which may come in any
// order. Ids on the connection are its own. When it closes, questions that it leaves without an
// answer are asked once more over a new one.
//
// Opening one takes limits::kDnsTimeoutMs at most, never two for one policy at once. A server
// that could not be reached gets no new connection for limits::kDnsPauseMs: questions fail at once
// then, which clients are told, instead of one after the other running into a timeout.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "proxy/dns_exchange.h"
#include "proxy/policy.h"

namespace shunt {

/// Of one worker. Coroutines that outlive a call are started by `start`, the worker's gate.
class DnsStream {
 public:
  using Start = std::function<void(Task<>)>;

  /// `tls` may be null: then it is plain TCP.
  DnsStream(EventLoop& loop, const Endpoint& server, std::shared_ptr<const TlsClient> tls,
            Start start);
  ~DnsStream();
  DnsStream(const DnsStream&) = delete;
  DnsStream& operator=(const DnsStream&) = delete;

  /// The answer with the query's own id. Nothing: there is none in time. `policy` says which way
  /// out leads there; a new one is a new connection. The question outlives the task.
  Task<std::optional<std::string>> ask(std::shared_ptr<const Policy> policy, DnsQuestion question,
                                       Deadline deadline);
  /// Opens no connection any more; one without questions closes.
  void drain();

 private:
  struct Connection;
  struct Waiting;
  class Answered;
  using Shared = std::shared_ptr<Connection>;

  Shared connection(std::shared_ptr<const Policy> policy);
  Task<> run(Shared connection);
  Task<bool> open(Connection& connection);
  Task<> read_answers(Connection& connection);
  Task<> write_questions(Connection& connection);
  void take_answers(Connection& connection);
  void close(Connection& connection);
  void waited_in_vain(Connection& connection, Clock::time_point begun);

  EventLoop& loop_;
  Endpoint server_;
  std::shared_ptr<const TlsClient> tls_;
  Start start_;
  Shared current_;
  Clock::time_point not_before_{};
  bool draining_ = false;
};

}  // namespace shunt
