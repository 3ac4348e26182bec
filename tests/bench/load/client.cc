// SPDX-License-Identifier: GPL-2.0-only
#include "client.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include "epoll_set.h"
#include "net/socket.h"
#include "protocol.h"

namespace shunt::load {
namespace {

using Clock = std::chrono::steady_clock;

struct Connection {
  UniqueFd fd;
  bool connected = false;
  bool said_header = false;
  std::size_t to_send = 0;
  std::size_t to_receive = 0;
  Clock::time_point asked;
};

class Client {
 public:
  explicit Client(const LoadOptions& options)
      : options_(options),
        buffer_(kHttpRequestBytes + std::max<std::size_t>(kBulkCall, kLargestMessage)) {
    if (options.load == Load::connect || options.load == Load::idle)
      message_ = 64;
    else
      message_ = options.message_bytes;
    if (options.http) write_http_request();
    latencies_us_.reserve(1U << 20);
  }

  int run() {
    begun_ = Clock::now();
    measure_from_ = begun_ + seconds(options_.warm_up_seconds);
    measure_to_ = measure_from_ + seconds(options_.seconds);
    for (int i = 0; i < options_.connections; ++i) {
      auto connection = std::make_unique<Connection>();
      open(*connection);
      connections_.push_back(std::move(connection));
    }
    if (options_.load == Load::idle) return hold();
    while (Clock::now() < measure_to_) step(20);
    print();
    return errors_ == 0 ? 0 : 1;
  }

 private:
  /// At the beginning of the buffer; what is received comes behind it.
  void write_http_request() {
    const std::uint32_t wanted = options_.load == Load::download ? 0 : options_.message_bytes;
    std::string request = fmt::format(
        "{}/{} HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: shunt_load\r\nX-Pad: ", kHttpMethod,
        wanted);
    request.append(kHttpRequestBytes - request.size() - 4, 'x').append("\r\n\r\n");
    std::ranges::copy(request, buffer_.begin());
  }

  static Clock::duration seconds(double value) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
  }

  void step(int timeout_ms) {
    epoll_.wait(timeout_ms, [this](void* data, std::uint32_t events) {
      auto& connection = *static_cast<Connection*>(data);
      if (!advance(connection, events)) {
        ++errors_;
        open(connection);
      }
    });
  }

  void open(Connection& c) {
    Endpoint target = options_.target;
    target.port = static_cast<std::uint16_t>(target.port + opened_++ % options_.ports);
    c = Connection{};
    c.fd = std::move(make_socket(target.address.family(), SocketType::stream)).value();
    (void)set_option(c.fd.get(), SOL_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
    c.asked = Clock::now();
    const SocketAddress address(target);
    if (::connect(c.fd.get(), address.get(), address.size()) != 0 && errno != EINPROGRESS) {
      die("connect");
    }
    epoll_.add(c.fd.get(), &c, EPOLLOUT);
  }

  /// False when the connection failed; connections that end as planned are reopened here.
  bool advance(Connection& c, std::uint32_t events) {
    if (!c.connected) {
      if (pending_error(c.fd.get()) != 0) return false;
      c.connected = true;
      begin_request(c);
      const bool sends_on = options_.load == Load::upload;
      epoll_.change(c.fd.get(), &c, EPOLLIN | (sends_on ? EPOLLOUT : 0U));
    }
    if (options_.load == Load::download) return receive_bulk(c, events);
    if (options_.load == Load::upload) return send_bulk(c, events);
    if (c.to_send > 0 && !send_request(c)) return false;
    return (events & EPOLLIN) == 0 || receive_response(c);
  }

  void begin_request(Connection& c) {
    if (options_.http) return begin_http_request(c);
    c.to_send = message_;
    c.to_receive = message_;
    if (options_.load != Load::connect) c.asked = Clock::now();
    const bool bulk = options_.load == Load::download || options_.load == Load::upload;
    if (!c.said_header) {
      Header header{.request_bytes = static_cast<std::uint32_t>(message_),
                    .response_bytes = static_cast<std::uint32_t>(message_)};
      if (options_.load == Load::download) header.mode = Mode::download;
      if (options_.load == Load::upload) header.mode = Mode::upload;
      std::memcpy(buffer_.data(), &header, sizeof header);
      c.said_header = true;
      if (bulk) c.to_send = sizeof header;
    }
    if (!send_request(c)) ++errors_;
  }

  void begin_http_request(Connection& c) {
    c.to_send = kHttpRequestBytes;
    c.to_receive = message_;
    c.asked = Clock::now();
    if (!send_request(c)) ++errors_;
  }

  bool send_request(Connection& c) {
    while (c.to_send > 0) {
      const ssize_t sent = ::send(c.fd.get(), buffer_.data(), c.to_send, MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN;
      c.to_send -= static_cast<std::size_t>(sent);
    }
    return true;
  }

  bool receive_response(Connection& c) {
    const std::size_t after = options_.http ? kHttpRequestBytes : sizeof(Header);
    const ssize_t got = ::recv(c.fd.get(), buffer_.data() + after, c.to_receive, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    c.to_receive -= static_cast<std::size_t>(got);
    if (c.to_receive > 0) return true;
    const auto now = Clock::now();
    ++answered_;
    if (now >= measure_from_ && now < measure_to_) {
      const std::chrono::duration<float, std::micro> took = now - c.asked;
      latencies_us_.push_back(took.count());
    }
    if (options_.load == Load::connect) {
      c.fd.reset();
      pause();
      open(c);
    }
    if (options_.load == Load::exchange) begin_request(c);
    return true;
  }

  void pause() const {
    if (options_.pause_us > 0) ::usleep(static_cast<useconds_t>(options_.pause_us));
  }

  bool receive_bulk(Connection& c, std::uint32_t events) {
    if ((events & EPOLLIN) == 0) return true;
    const ssize_t got = ::recv(c.fd.get(), buffer_.data() + kHttpRequestBytes, kBulkCall, 0);
    if (got > 0) count_bytes(static_cast<std::size_t>(got));
    return got > 0 || (got < 0 && errno == EAGAIN);
  }

  bool send_bulk(Connection& c, std::uint32_t events) {
    if ((events & EPOLLOUT) == 0) return (events & (EPOLLERR | EPOLLHUP)) == 0;
    const ssize_t sent = ::send(c.fd.get(), buffer_.data(), kBulkCall, MSG_NOSIGNAL);
    if (sent > 0) count_bytes(static_cast<std::size_t>(sent));
    return sent > 0 || errno == EAGAIN;
  }

  void count_bytes(std::size_t bytes) {
    const auto now = Clock::now();
    total_bytes_ += bytes;
    if (now >= measure_from_ && now < measure_to_) measured_bytes_ += bytes;
  }

  int hold() {
    while (answered_ < static_cast<std::uint64_t>(options_.connections) &&
           Clock::now() < begun_ + std::chrono::seconds(60)) {
      step(20);
    }
    fmt::print("{{\"open\": {}, \"errors\": {}}}\n", answered_, errors_);
    std::fflush(stdout);
    char byte = 0;
    while (::read(STDIN_FILENO, &byte, 1) > 0) {
    }
    return errors_ == 0 ? 0 : 1;
  }

  float percentile(double part) {
    if (latencies_us_.empty()) return 0;
    const auto at = static_cast<std::size_t>(part * static_cast<double>(latencies_us_.size() - 1));
    std::nth_element(latencies_us_.begin(), latencies_us_.begin() + static_cast<std::ptrdiff_t>(at),
                     latencies_us_.end());
    return latencies_us_[at];
  }

  void print() {
    fmt::print(
        "{{\"operations\": {}, \"rate\": {:.1f}, \"p50_us\": {:.1f}, \"p99_us\": {:.1f}, "
        "\"bits_per_second\": {:.0f}, \"total_bytes\": {}, \"total_operations\": {}, "
        "\"errors\": {}}}\n",
        latencies_us_.size(), static_cast<double>(latencies_us_.size()) / options_.seconds,
        percentile(0.5), percentile(0.99),
        static_cast<double>(measured_bytes_) * 8 / options_.seconds, total_bytes_, answered_,
        errors_);
  }

  LoadOptions options_;
  EpollSet epoll_;
  std::vector<char> buffer_;
  std::size_t message_ = 0;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<float> latencies_us_;
  std::uint64_t answered_ = 0;
  std::uint64_t errors_ = 0;
  std::uint64_t measured_bytes_ = 0;
  std::uint64_t total_bytes_ = 0;
  int opened_ = 0;
  Clock::time_point begun_;
  Clock::time_point measure_from_;
  Clock::time_point measure_to_;
};

}  // namespace

int run_load(const LoadOptions& options) { return Client(options).run(); }

}  // namespace shunt::load
