// SPDX-License-Identifier: GPL-2.0-only
#include "proxy/dns_stream.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "unit/proxy/dns_fixture.h"

namespace shunt {
namespace {

using namespace test;

/// The server's end of one connection.
class Connection {
 public:
  explicit Connection(const UniqueFd& listener) {
    EXPECT_TRUE(wait_for(listener.get(), POLLIN));
    fd_ = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  /// The next query, without its length; "" where none came.
  std::string next() {
    for (;;) {
      if (const auto message = dns::first_framed(received_)) {
        std::string query(*message);
        received_.erase(0, 2 + query.size());
        return query;
      }
      char buffer[4096];
      if (!wait_for(fd_.get(), POLLIN)) return "";
      const auto count = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (count <= 0) return "";
      received_.append(buffer, static_cast<std::size_t>(count));
    }
  }
  void reply(std::string_view answer) { send_all(fd_.get(), dns::framed(answer)); }

 private:
  UniqueFd fd_;
  std::string received_;
};

std::string name_in(const std::string& query) {
  const auto parsed = dns::parse(query);
  return parsed ? parsed->question.name : "none";
}

class DnsStreamTest : public DnsTest {
 protected:
  DnsStreamTest() { start(Transport::tcp, *local_endpoint(listener_.get())); }

  /// Seconds until a question has its answer.
  double timed(const char* name, std::string& answer) {
    const auto begun = std::chrono::steady_clock::now();
    answer = shown(ask(dns_query(name)).get());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  }

  UniqueFd listener_ = listen_on_loopback();
};

TEST_F(DnsStreamTest, questions_share_a_connection_and_answers_come_in_any_order) {
  auto one = ask(dns_query("one.example"));
  auto two = ask(dns_query("two.example"));
  Connection server(listener_);
  const std::string first = server.next();
  const std::string second = server.next();
  EXPECT_EQ(name_in(first) + " " + name_in(second), "one.example two.example");
  EXPECT_NE(dns::id_of(first), dns::id_of(second));
  server.reply(dns_answer(second, 2));
  EXPECT_EQ(shown(two.get()), "7.7 198.51.100.2");
  server.reply(dns_answer(first, 1));
  EXPECT_EQ(shown(one.get()), "7.7 198.51.100.1");
  EXPECT_EQ(upstreams_.all(), 1);
}

TEST_F(DnsStreamTest, what_a_closing_connection_leaves_is_asked_once_more) {
  auto answer = ask(dns_query("www.example"));
  {
    Connection closing(listener_);
    EXPECT_EQ(name_in(closing.next()), "www.example");
  }
  Connection server(listener_);
  server.reply(dns_answer(server.next(), 1));
  EXPECT_EQ(shown(answer.get()), "7.7 198.51.100.1");
}

TEST_F(DnsStreamTest, a_server_that_accepts_and_says_nothing_is_a_failure_in_time) {
  std::string answer;
  EXPECT_LT(timed("www.example", answer), 6);
  EXPECT_EQ(answer, "7.7 rcode 2");
  EXPECT_TRUE(eventually([this] { return upstreams_.now() == 0; }));
}

/// Its queue of connections is full, so that it does not even say no.
class SilentDnsServer : public DnsTest {
 protected:
  SilentDnsServer() {
    EXPECT_EQ(::listen(listener_.get(), 0), 0);
    while (fill()) {
    }
    start(Transport::tcp, *local_endpoint(listener_.get()));
  }
  bool fill() {
    UniqueFd fd = *make_socket(Family::ipv4, SocketType::stream);
    const SocketAddress address(*local_endpoint(listener_.get()));
    (void)::connect(fd.get(), address.get(), address.size());
    pollfd connected{.fd = fd.get(), .events = POLLOUT, .revents = 0};
    const bool took = ::poll(&connected, 1, 300) == 1;
    if (took) queued_.push_back(std::move(fd));
    return took && queued_.size() < 8;
  }

  UniqueFd listener_ = listen_on_loopback();
  std::vector<UniqueFd> queued_;
};

TEST_F(SilentDnsServer, is_waited_for_once_and_by_one_connection) {
  using Seconds = std::chrono::duration<double>;
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(shown(ask(dns_query("one.example")).get()), "7.7 rcode 2");
  const auto failed = std::chrono::steady_clock::now();
  EXPECT_LT(Seconds(failed - begun).count(), 6);
  EXPECT_EQ(shown(ask(dns_query("two.example")).get()), "7.7 rcode 2");
  EXPECT_LT(Seconds(std::chrono::steady_clock::now() - failed).count(), 1);
  EXPECT_EQ(upstreams_.all(), 1);
  EXPECT_TRUE(eventually([this] { return upstreams_.now() == 0; }));
}

}  // namespace
}  // namespace shunt
