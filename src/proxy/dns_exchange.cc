// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_exchange.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include "base/udp_limits.h"
#include "egress/stream_io.h"

namespace shunt {
namespace {

using Answer = std::optional<std::string>;

constexpr std::size_t kReadBytes = 2048;

/// One for each worker's thread, whatever number of questions waits; never held across a co_await.
std::span<char> scratch() {
  thread_local const auto bytes = std::make_unique<char[]>(limits::kUdpDatagramBytes);
  return {bytes.get(), limits::kUdpDatagramBytes};
}

/// The next datagram that is the relay's; nothing when the time is over, or the socket failed.
Task<Answer> receive_datagram(EventLoop& loop, UdpUpstream& upstream, Deadline deadline) {
  for (;;) {
    const auto left = deadline.left_ms();
    if (left == 0) co_return std::nullopt;
    const Wake wake = co_await loop.readable(upstream.socket.slot(), left);
    if (wake != Wake::ready) co_return std::nullopt;
    const std::span<char> buffer = scratch();
    const auto count = ::recv(upstream.socket.fd(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno != EAGAIN) co_return std::nullopt;  // ICMP says that nobody listens
    if (count < 0) {
      upstream.socket.slot().clear(Slot::kReadable);
      continue;
    }
    const std::string_view datagram(buffer.data(), static_cast<std::size_t>(count));
    if (const auto payload = upstream.unwrap(upstream, datagram)) co_return std::string(*payload);
  }
}

Task<Answer> ask_by_stream(EventLoop& loop, const WayOut& way_out, const Flow& flow,
                           DnsQuestion question, Deadline deadline) {
  Flow stream = flow;
  stream.protocol = Protocol::tcp;
  stream.dial_by = deadline.at();
  const Hints hints;
  auto upstream = co_await way_out.connect(loop, stream, hints);
  if (!upstream) co_return std::nullopt;
  const std::string request = dns::framed(question.bytes);
  const auto sent = co_await send_all(loop, *upstream, request, deadline);
  if (!sent) co_return std::nullopt;
  std::string received = std::move(upstream->early_data);
  for (;;) {
    if (const auto message = dns::first_framed(received)) {
      const bool ours =
          dns::id_of(question.bytes) == question.query.id && message->size() >= dns::kHeaderBytes &&
          dns::id_of(*message) == question.query.id && answer_to(*message, question.query.question);
      co_return ours ? Answer(std::string(*message)) : std::nullopt;
    }
    std::array<char, kReadBytes> buffer{};
    const auto count =
        co_await receive_some(loop, *upstream, buffer.data(), buffer.size(), deadline);
    if (!count || *count == 0) co_return std::nullopt;
    received.append(buffer.data(), *count);
  }
}

}  // namespace

std::uint16_t random_query_id() {
  std::uint16_t id = 0;
  (void)::getrandom(&id, sizeof id, 0);
  return id;
}

std::optional<dns::Message> answer_to(std::string_view answer_bytes,
                                      const dns::Question& question) {
  auto answer = dns::parse(answer_bytes);
  if (!answer || !answer->response || answer->question != question) return std::nullopt;
  return answer;
}

Task<Answer> ask_by_datagram(EventLoop& loop, const WayOut& way_out, const Flow& flow,
                             DnsQuestion question, Deadline deadline) {
  Flow datagrams = flow;
  datagrams.protocol = Protocol::udp;
  datagrams.dial_by = deadline.at();
  auto upstream = co_await way_out.associate(loop, datagrams);
  if (!upstream) co_return std::nullopt;
  const std::uint16_t id = random_query_id();
  std::string message(question.bytes);
  dns::set_id(message, id);
  const std::string request = upstream->header + message;
  if (::send(upstream->socket.fd(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    co_return std::nullopt;
  }
  for (;;) {
    auto answer = co_await receive_datagram(loop, *upstream, deadline);
    if (!answer) co_return std::nullopt;
    const bool ours = answer->size() >= dns::kHeaderBytes && dns::id_of(*answer) == id &&
                      answer_to(*answer, question.query.question);
    if (!ours) continue;
    dns::set_id(*answer, question.query.id);
    co_return answer;
  }
}

Task<Answer> ask_once(EventLoop& loop, const WayOut& way_out, const Flow& flow,
                      DnsQuestion question, Deadline deadline) {
  if (way_out.carries_udp()) {
    auto answer = co_await ask_by_datagram(loop, way_out, flow, question, deadline);
    const bool whole = answer && !dns::parse(*answer)->truncated;
    if (whole || !answer) co_return answer;
  }
  co_return co_await ask_by_stream(loop, way_out, flow, question, deadline);
}

}  // namespace shunt
