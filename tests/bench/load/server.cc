// SPDX-License-Identifier: GPL-2.0-only
#include "server.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "epoll_set.h"
#include "net/socket.h"
#include "protocol.h"

namespace shunt::load {
namespace {

constexpr std::size_t kHttpHeadBytes = 128;
constexpr std::uint64_t kEndless = 1ULL << 50;

std::vector<char> buffer(kBulkCall);

struct Connection {
  UniqueFd fd;
  bool listener = false;
  bool has_header = false;
  Header header;
  std::size_t header_bytes = 0;
  std::size_t request_left = 0;   // of the current request
  std::size_t response_left = 0;  // still to be sent
  bool wants_write = false;
  bool http = false;
  std::string http_head;  // of each response
};

/// A head of at most as many bytes as the whole response; the body is what is missing.
std::string http_head(std::size_t response_bytes) {
  const std::uint64_t body = response_bytes == 0 ? kEndless : response_bytes - kHttpHeadBytes;
  std::string head = fmt::format(
      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nX-Pad: ", body);
  return head.append(kHttpHeadBytes - head.size() - 4, 'x').append("\r\n\r\n");
}

class Server {
 public:
  void listen_on(const Endpoint& endpoint) {
    auto connection = std::make_unique<Connection>();
    connection->fd = std::move(make_socket(endpoint.address.family(), SocketType::stream)).value();
    (void)set_option(connection->fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
    if (!bind_to(connection->fd.get(), endpoint)) die("bind");
    if (::listen(connection->fd.get(), 8192) != 0) die("listen");
    connection->listener = true;
    epoll_.add(connection->fd.get(), connection.get(), EPOLLIN);
    listeners_.push_back(std::move(connection));
  }

  [[noreturn]] void run() {
    for (;;) {
      epoll_.wait(-1, [this](void* data, std::uint32_t events) {
        auto* connection = static_cast<Connection*>(data);
        if (connection->listener) {
          accept_all(*connection);
        } else if (!advance(*connection, events)) {
          delete connection;
        }
      });
    }
  }

 private:
  void accept_all(Connection& listener) {
    for (int i = 0; i < 64; ++i) {
      UniqueFd fd(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd.valid()) return;
      (void)set_option(fd.get(), SOL_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
      auto* connection = new Connection;
      connection->fd = std::move(fd);
      epoll_.add(connection->fd.get(), connection, EPOLLIN);
    }
  }

  /// False when the connection is over.
  bool advance(Connection& c, std::uint32_t events) {
    if (!c.has_header) return read_header(c);
    if (c.header.mode == Mode::download) return send_bulk(c);
    if ((events & EPOLLOUT) != 0 && !send_response(c)) return false;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return true;
    return c.header.mode == Mode::upload ? discard(c) : read_request(c);
  }

  bool read_header(Connection& c) {
    auto* bytes = reinterpret_cast<char*>(&c.header);
    const ssize_t got =
        ::recv(c.fd.get(), bytes + c.header_bytes, sizeof(Header) - c.header_bytes, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    c.header_bytes += static_cast<std::size_t>(got);
    if (c.header_bytes < sizeof(Header)) return true;
    if (std::string_view(bytes, kHttpMethod.size()) == kHttpMethod) return begin_http(c);
    if (c.header.magic != Header::kMagic || c.header.request_bytes < sizeof(Header) ||
        c.header.request_bytes > kLargestMessage || c.header.response_bytes > kLargestMessage) {
      return false;
    }
    c.has_header = true;
    c.request_left = c.header.request_bytes - sizeof(Header);
    if (c.header.mode == Mode::download) {
      epoll_.change(c.fd.get(), &c, EPOLLOUT);
      return true;
    }
    return c.header.mode == Mode::upload || c.request_left > 0 || answer(c);
  }

  /// Of "GET /N HTTP/1.1", which fits where a Header would.
  bool begin_http(Connection& c) {
    std::string_view line(reinterpret_cast<const char*>(&c.header), sizeof(Header));
    line.remove_prefix(kHttpMethod.size() + 1);
    std::uint32_t wanted = 0;
    std::from_chars(line.data(), line.data() + line.size(), wanted);
    if (wanted > kLargestMessage || (wanted != 0 && wanted < kHttpHeadBytes)) return false;
    c.has_header = c.http = true;
    c.http_head = http_head(wanted);
    c.header = {.request_bytes = kHttpRequestBytes, .response_bytes = wanted};
    c.request_left = kHttpRequestBytes - sizeof(Header);
    return true;
  }

  bool answer(Connection& c) {
    if (c.http && !send_http_head(c)) return false;
    if (c.header.mode == Mode::download) return true;
    c.request_left = c.header.request_bytes;
    c.response_left += c.header.response_bytes - c.http_head.size();
    return send_response(c);
  }

  /// A client waits for each response, so there is room for a head.
  bool send_http_head(Connection& c) {
    const int more = MSG_NOSIGNAL | MSG_MORE;
    const auto sent = ::send(c.fd.get(), c.http_head.data(), c.http_head.size(), more);
    if (sent != static_cast<ssize_t>(c.http_head.size())) return false;
    if (c.header.response_bytes != 0) return true;
    c.header.mode = Mode::download;
    epoll_.change(c.fd.get(), &c, EPOLLOUT);
    return true;
  }

  bool read_request(Connection& c) {
    const ssize_t got =
        ::recv(c.fd.get(), buffer.data(), std::min(buffer.size(), c.request_left), 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    c.request_left -= static_cast<std::size_t>(got);
    return c.request_left > 0 || answer(c);
  }

  bool send_response(Connection& c) {
    while (c.response_left > 0) {
      const ssize_t sent =
          ::send(c.fd.get(), buffer.data(), std::min(buffer.size(), c.response_left), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return false;
      if (sent < 0) break;
      c.response_left -= static_cast<std::size_t>(sent);
    }
    const bool wants_write = c.response_left > 0;
    if (wants_write != c.wants_write) {
      epoll_.change(c.fd.get(), &c, EPOLLIN | (wants_write ? EPOLLOUT : 0U));
      c.wants_write = wants_write;
    }
    return true;
  }

  static bool send_bulk(Connection& c) {
    const ssize_t sent = ::send(c.fd.get(), buffer.data(), buffer.size(), MSG_NOSIGNAL);
    return sent > 0 || errno == EAGAIN;
  }

  static bool discard(Connection& c) {
    const ssize_t got = ::recv(c.fd.get(), buffer.data(), buffer.size(), 0);
    return got > 0 || (got < 0 && errno == EAGAIN);
  }

  EpollSet epoll_;
  std::vector<std::unique_ptr<Connection>> listeners_;
};

}  // namespace

void serve(const Endpoint& first, int count) {
  Server server;
  for (int i = 0; i < count; ++i) {
    Endpoint endpoint = first;
    endpoint.port = static_cast<std::uint16_t>(first.port + i);
    server.listen_on(endpoint);
  }
  std::puts("ready");
  std::fflush(stdout);
  server.run();
}

}  // namespace shunt::load
