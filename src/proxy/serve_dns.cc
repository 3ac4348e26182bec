// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/serve_dns.h"

#include <array>
#include <utility>

#include "dns/limits.h"
#include "egress/stream_io.h"

namespace shunt {
namespace {

constexpr std::size_t kReadBytes = 4096;

FlowEnd refused(ConnectFailure failure) {
  FlowEnd end;
  end.reason = EndReason::refused;
  end.failure = std::move(failure);
  return end;
}

EndReason reason_of(const ConnectFailure& failure) {
  switch (failure.reason) {
    case ConnectReason::timed_out: return EndReason::idle;
    case ConnectReason::cancelled: return EndReason::shutdown;
    default: return EndReason::client_reset;
  }
}

/// The client's side of one connection.
class Conversation {
 public:
  Conversation(EventLoop& loop, WatchedFd client) : loop_(loop) {
    client_.socket = std::move(client);
  }

  /// The next query, or why there is none.
  Task<std::expected<std::string, EndReason>> next() {
    while (true) {
      if (const auto message = dns::first_framed(received_)) {
        std::string query(*message);
        received_.erase(0, 2 + query.size());
        co_return query;
      }
      std::array<char, kReadBytes> buffer{};
      const auto count = co_await receive_some(loop_, client_, buffer.data(), buffer.size(),
                                               Deadline(limits::kDnsIdleMs));
      if (!count) co_return std::unexpected(reason_of(count.error()));
      if (*count == 0) co_return std::unexpected(EndReason::closed);
      received_.append(buffer.data(), *count);
      end.bytes_up += *count;
    }
  }

  Task<bool> say(std::string answer) {
    const std::string message = dns::framed(answer);
    const auto sent = co_await send_all(loop_, client_, message, Deadline(limits::kDnsIdleMs));
    if (sent) {
      end.bytes_down += message.size();
    } else {
      end.reason = reason_of(sent.error());
    }
    co_return sent.has_value();
  }

  FlowEnd end;

 private:
  EventLoop& loop_;
  Upstream client_{.socket = {}, .reported = {}, .early_data = {}};  // as send_all() wants it
  std::string received_;
};

}  // namespace

Task<FlowEnd> serve_dns(EventLoop& loop, DnsService& service, Captured& captured,
                        const DecidedFlow& decided) {
  auto admitted = co_await captured.client->admit();
  if (!admitted) co_return refused(std::move(admitted).error());
  auto client = WatchedFd::create(loop, *std::move(admitted), Slot::kReadable | Slot::kWritable);
  if (!client) co_return refused(failure_from_errno(client.error().os_error));
  Conversation conversation(loop, *std::move(client));
  while (true) {
    const auto query = co_await conversation.next();
    if (!query) {
      conversation.end.reason = query.error();
      break;
    }
    const auto answer = co_await service.answer({.bytes = *query,
                                                 .flow = captured.flow,
                                                 .carrier = decided.way_out(),
                                                 .policy = decided.policy});
    if (!answer) continue;
    const bool said = co_await conversation.say(*answer);
    if (!said) break;
  }
  co_return conversation.end;
}

}  // namespace shunt
