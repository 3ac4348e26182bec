// SPDX-License-Identifier: GPL-2.0-only
// What observation costs: the tap for each request and response, and the log for each line.
#include <benchmark/benchmark.h>
#include <fcntl.h>

#include <string>

#include "net/unique_fd.h"
#include "observe/traffic_log.h"
#include "proxy/flow_tap.h"

namespace shunt {
namespace {

const std::string kRequest =
    "GET /index.html?q=1 HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux "
    "x86_64) AppleWebKit/537.36\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
    "Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nCookie: "
    "session=0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\n\r\n";
const std::string kResponse =
    "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    "Content-Type: text/html\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\r\n" +
    std::string(1024, 'x');

class NoLog final : public FlowLog {
 public:
  void http_request(const Flow& /*flow*/, const HttpRequest& /*request*/) override {}
  void http_response(const Flow& /*flow*/, const HttpResponse& /*response*/) override {}
  void tls_hello(const Flow& /*flow*/, const TlsHello& /*hello*/) override {}
  void flow_end(const Flow& /*flow*/, const FlowEnd& /*end*/) override {}
};

Flow make_flow() {
  Flow flow;
  flow.id = 1;
  flow.source = *Endpoint::parse("192.0.2.10:51514");
  flow.original_destination = *Endpoint::parse("198.51.100.7:80");
  flow.way_out = "direct";
  return flow;
}

void exchange(Tap& tap) {
  tap.observe(Side::client, kRequest);
  tap.observe(Side::upstream, kResponse);
}

void tap_of_a_keep_alive_exchange(benchmark::State& state) {
  const Flow flow = make_flow();
  NoLog log;
  const auto tap = make_flow_tap(flow, log);
  for (auto _ : state) exchange(*tap);
}
BENCHMARK(tap_of_a_keep_alive_exchange);

void tap_of_a_short_connection(benchmark::State& state) {
  const Flow flow = make_flow();
  NoLog log;
  for (auto _ : state) {
    const auto tap = make_flow_tap(flow, log);
    exchange(*tap);
    tap->finish();
  }
}
BENCHMARK(tap_of_a_short_connection);

/// The worker's half of a log line; the other half runs on the log's thread meanwhile.
void logged_exchange(benchmark::State& state, bool json) {
  const UniqueFd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const auto log = json ? make_json_log({.fd = null.get()}) : make_console_log({.fd = null.get()});
  const Flow flow = make_flow();
  const auto tap = make_flow_tap(flow, *log);
  int left = 1000;
  for (auto _ : state) {
    exchange(*tap);
    if (--left == 0) {  // full queues would make it look cheap
      state.PauseTiming();
      log->flush(10'000);
      left = 1000;
      state.ResumeTiming();
    }
  }
}
BENCHMARK_CAPTURE(logged_exchange, console, false);
BENCHMARK_CAPTURE(logged_exchange, json, true);

}  // namespace
}  // namespace shunt
