// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_stream.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <utility>

#include "base/escape.h"
#include "base/log.h"
#include "dns/limits.h"
#include "egress/stream_io.h"
#include "net/socket.h"

namespace shunt {
namespace {

constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::size_t kMostReceived = 2 + dns::kLongestMessage + kReadBytes;

constexpr std::chrono::milliseconds kPause{limits::kDnsPauseMs};
/// A question that had less time than this says nothing of its connection.
constexpr std::chrono::milliseconds kTelling{limits::kDnsTimeoutMs / 2};

/// Once a minute, whichever workers notice it.
bool worth_a_line() {
  constexpr std::int64_t kPauseMs = 60'000;
  static std::atomic<std::int64_t> next_ms = 0;
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch())
          .count();
  std::int64_t due = next_ms.load();
  return now >= due && next_ms.compare_exchange_strong(due, now + kPauseMs);
}

}  // namespace

/// A question under way; in the frame of ask().
struct DnsStream::Waiting {
  explicit Waiting(const dns::Question& the_question) : question(the_question) {}
  const dns::Question& question;
  std::optional<std::string> answer;
  bool lost = false;  ///< the connection is gone
  bool done = false;
  std::coroutine_handle<> handle;
};

struct DnsStream::Connection {
  explicit Connection(std::shared_ptr<const Policy> the_policy) : policy(std::move(the_policy)) {}
  std::shared_ptr<const Policy> policy;
  std::optional<Upstream> upstream;
  std::map<std::uint16_t, std::shared_ptr<Waiting>> waiting;
  std::uint16_t next_id = 0;
  std::string unsent;
  std::coroutine_handle<> writer;  ///< that waits for something to send
  std::string received;
  bool opened = false;
  bool closed = false;
  Clock::time_point heard{};  ///< when something last came

  struct MoreToSend {
    Connection& connection;
    bool await_ready() const { return connection.closed || !connection.unsent.empty(); }
    void await_suspend(std::coroutine_handle<> handle) { connection.writer = handle; }
    void await_resume() const {}
  };
};

/// Waits for the answer, the loss of the connection, or the end of the time.
class DnsStream::Answered {
 public:
  Answered(EventLoop& loop, std::shared_ptr<Waiting> waiting, std::uint32_t ms)
      : loop_(loop), timer_(std::move(waiting), loop, &Answered::expired), ms_(ms) {}
  bool await_ready() const { return timer_.waiting->done || ms_ == 0; }
  void await_suspend(std::coroutine_handle<> handle) {
    timer_.waiting->handle = handle;
    loop_.timers().arm(timer_, loop_.in(ms_));
  }
  void await_resume() { loop_.timers().disarm(timer_); }

  static void wake(EventLoop& loop, const std::shared_ptr<Waiting>& waiting) {
    if (std::exchange(waiting->done, true) || !waiting->handle) return;
    loop.post([waiting] { waiting->handle.resume(); });
  }

 private:
  struct Expiry : Timer {
    Expiry(std::shared_ptr<Waiting> the_waiting, EventLoop& the_loop, Callback callback)
        : Timer(callback), waiting(std::move(the_waiting)), loop(the_loop) {}
    std::shared_ptr<Waiting> waiting;
    EventLoop& loop;
  };
  static void expired(Timer& timer) {
    auto& expiry = static_cast<Expiry&>(timer);
    wake(expiry.loop, expiry.waiting);
  }
  EventLoop& loop_;
  Expiry timer_;
  std::uint32_t ms_;
};

DnsStream::DnsStream(EventLoop& loop, const Endpoint& server, std::shared_ptr<const TlsClient> tls,
                     Start start)
    : loop_(loop), server_(server), tls_(std::move(tls)), start_(std::move(start)) {}

DnsStream::~DnsStream() = default;

Task<std::optional<std::string>> DnsStream::ask(std::shared_ptr<const Policy> policy,
                                                DnsQuestion question, Deadline deadline) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Shared asked = connection(policy);
    if (asked == nullptr) co_return std::nullopt;
    const auto begun = Clock::now();
    auto waiting = std::make_shared<Waiting>(question.query.question);
    while (asked->waiting.contains(asked->next_id)) ++asked->next_id;
    const std::uint16_t id = asked->next_id++;
    asked->waiting.emplace(id, waiting);
    std::string message(question.bytes);
    dns::set_id(message, id);
    asked->unsent += dns::framed(message);
    if (asked->writer) {
      loop_.post([writer = std::exchange(asked->writer, nullptr)] { writer.resume(); });
    }
    co_await Answered(loop_, waiting, deadline.left_ms());
    asked->waiting.erase(id);
    if (draining_ && asked->waiting.empty()) close(*asked);
    if (waiting->answer) {
      dns::set_id(*waiting->answer, question.query.id);
      co_return std::move(waiting->answer);
    }
    if (!waiting->lost) waited_in_vain(*asked, begun);
    if (!waiting->lost || !asked->opened) co_return std::nullopt;
  }
  co_return std::nullopt;
}

/// A connection on which nothing comes is dead, though nobody said so. One that is not opened yet
/// ends by itself, by Flow::dial_by; the questions of the next moments do not wait for that.
void DnsStream::waited_in_vain(Connection& connection, Clock::time_point begun) {
  const auto now = Clock::now();
  if (now - begun < kTelling) return;
  if (!connection.opened) {
    not_before_ = now + kPause;
  } else if (connection.heard < begun) {
    close(connection);
  }
}

/// Null where none may be opened now, or the one that is being opened seems to lead nowhere.
DnsStream::Shared DnsStream::connection(std::shared_ptr<const Policy> policy) {
  if (Clock::now() < not_before_) return nullptr;
  const bool usable = current_ != nullptr && !current_->closed && current_->policy == policy &&
                      current_->waiting.size() < limits::kDnsQueries;
  if (usable) return current_;
  if (draining_ || loop_.cancelled()) return nullptr;
  current_ = std::make_shared<Connection>(std::move(policy));
  start_(run(current_));
  return current_;
}

Task<> DnsStream::run(Shared connection) {
  const bool opened = co_await open(*connection);
  if (opened) co_await both(read_answers(*connection), write_questions(*connection));
  close(*connection);
  for (const auto& [id, waiting] : connection->waiting) {
    waiting->lost = true;
    Answered::wake(loop_, waiting);
  }
  if (current_ == connection) current_ = nullptr;
  connection->upstream.reset();
}

Task<bool> DnsStream::open(Connection& connection) {
  const WayOut* way_out = connection.policy->for_dns();
  ConnectFailure failure{.reason = ConnectReason::denied, .os_error = 0, .detail = {}};
  if (way_out != nullptr) {
    Flow flow;
    flow.original_destination = server_;
    flow.started = Clock::now();
    flow.dial_by = flow.started + std::chrono::milliseconds(limits::kDnsTimeoutMs);
    const Hints hints;
    auto upstream = co_await way_out->connect(loop_, flow, hints);
    if (upstream) send_without_delay(upstream->socket.fd());
    if (upstream && tls_ != nullptr) {
      const Deadline deadline(flow.dial_ms(limits::kDnsConnectMs));
      auto done = co_await tls_->handshake(loop_, *upstream, deadline);
      if (!done) upstream = std::unexpected(std::move(done).error());
    }
    if (upstream) {
      connection.received = std::move(upstream->early_data);
      connection.upstream = std::move(*upstream);
      connection.opened = true;
      not_before_ = {};
      co_return true;
    }
    failure = std::move(upstream).error();
  }
  not_before_ = Clock::now() + kPause;
  if (failure.reason != ConnectReason::cancelled) {
    if (worth_a_line()) {
      log(LogLevel::warning, "no answers to DNS: " + server_.text() + ": " +
                                 (failure.detail.empty() ? std::string(reason_text(failure.reason))
                                                         : escaped(failure.detail)));
    }
  }
  co_return false;
}

// A server may close when it likes, and an idle connection is closed from here: no questions are
// lost by that which are not asked again.
Task<> DnsStream::read_answers(Connection& connection) {
  std::array<char, kReadBytes> buffer;
  take_answers(connection);
  while (!connection.closed && connection.received.size() < kMostReceived) {
    const auto count = co_await receive_some(loop_, *connection.upstream, buffer.data(),
                                             buffer.size(), Deadline(limits::kDnsIdleMs));
    if (!count || *count == 0) break;
    connection.heard = Clock::now();
    connection.received.append(buffer.data(), *count);
    take_answers(connection);
    if (draining_ && connection.waiting.empty()) break;
  }
  close(connection);
}

void DnsStream::take_answers(Connection& connection) {
  while (const auto message = dns::first_framed(connection.received)) {
    const std::size_t size = 2 + message->size();
    if (message->size() >= dns::kHeaderBytes) {
      const auto found = connection.waiting.find(dns::id_of(*message));
      if (found != connection.waiting.end() && answer_to(*message, found->second->question)) {
        found->second->answer = std::string(*message);
        Answered::wake(loop_, found->second);
      }
    }
    connection.received.erase(0, size);
  }
}

Task<> DnsStream::write_questions(Connection& connection) {
  while (true) {
    co_await Connection::MoreToSend{connection};
    if (connection.closed) co_return;
    const std::string questions = std::exchange(connection.unsent, {});
    const auto sent =
        co_await send_all(loop_, *connection.upstream, questions, Deadline(limits::kDnsTimeoutMs));
    if (!sent) break;
  }
  close(connection);
}

/// Whoever waits for something of it is woken.
void DnsStream::close(Connection& connection) {
  if (std::exchange(connection.closed, true)) return;
  if (connection.upstream) loop_.cancel(connection.upstream->socket.slot());
  if (connection.writer) {
    loop_.post([writer = std::exchange(connection.writer, nullptr)] { writer.resume(); });
  }
}

void DnsStream::drain() {
  draining_ = true;
  if (current_ != nullptr && current_->waiting.empty()) close(*current_);
}

}  // namespace shunt
