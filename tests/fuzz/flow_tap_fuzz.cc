// SPDX-License-Identifier: GPL-2.0-only
// A conversation of two sides through a tap. Each step is a byte that says what
// happens, then a length byte and that many bytes. What a log would print must hold no controls.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "observe/shown.h"
#include "proxy/flow_tap.h"

namespace shunt {
namespace {

/// Checks what a log would print, without the log's thread.
class CheckingLog final : public FlowLog {
 public:
  void http_request(const Flow& /*flow*/, const HttpRequest& request) override {
    if (request.number == 0 || request.method.empty()) std::abort();
    check(request.method);
    check(request.target);
    check(request.host);
  }
  void http_response(const Flow& /*flow*/, const HttpResponse& response) override {
    if (response.status < 100 || response.status > 999) std::abort();
    if (response.request.target.size() > limits::kHttpLabelBytes) std::abort();
    check(response.reason);
    check(response.request.target);
  }
  void tls_hello(const Flow& /*flow*/, const TlsHello& hello) override {
    check(hello.server_name);
    check(hello.alpn_chosen);
    for (const auto& name : hello.alpn_offered) check(name);
  }
  void flow_end(const Flow& /*flow*/, const FlowEnd& /*end*/) override {}

 private:
  static void check(std::string_view text) {
    std::string json;
    append_json_string(json, text);
    for (const std::string& line : {shown(text), json}) {
      const bool control = std::ranges::any_of(
          line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
      if (control || line.size() > 8 * limits::kLogTextBytes) std::abort();
    }
  }
};

void step(Tap& tap, unsigned action, std::string_view bytes) {
  const Side side = action % 2 == 0 ? Side::client : Side::upstream;
  const std::uint64_t unseen = tap.uninteresting(side);
  switch (action / 2 % 8) {
    case 0: tap.end(side); break;
    case 1: tap.skip(side, std::min<std::uint64_t>(unseen, bytes.size() * 1000)); break;
    case 2: tap.skip(side, bytes.size()); break;  // perhaps more than allowed
    default: tap.observe(side, bytes);
  }
}

}  // namespace
}  // namespace shunt

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shunt;  // NOLINT(google-build-using-namespace)
  Flow flow;
  flow.started = Clock::now();
  CheckingLog log;
  const auto tap = make_flow_tap(flow, log);
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  while (rest.size() >= 2) {
    const auto action = static_cast<unsigned char>(rest[0]);
    const auto length = static_cast<unsigned char>(rest[1]);
    const std::string_view bytes = rest.substr(2, length);
    step(*tap, action, bytes);
    rest.remove_prefix(2 + bytes.size());
  }
  tap->finish();
  if (tap->uninteresting(Side::client) != Tap::kEverything) std::abort();
  return 0;
}
