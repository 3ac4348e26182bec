// SPDX-License-Identifier: GPL-2.0-only
// The workers' half of the console log: words for each event, escaped and measured.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/units.h"
#include "observe/colour.h"
#include "observe/console_layout.h"
#include "observe/shown.h"
#include "observe/tokens.h"
#include "observe/traffic_log.h"

namespace shunt {
namespace {

constexpr std::size_t kViaColumn = 42;  // of a request line, counted from its arrow

/// "GET / bing.com"; an absolute target says the host by itself.
std::string request_text(const HttpRequest& request) {
  std::string text = shown(request.method) + ' ' + shown(request.target);
  const bool origin_form = request.target.starts_with('/') || request.target == "*";
  if (origin_form && !request.host.empty()) text += ' ' + shown(request.host);
  return text;
}

/// "0 B", "1.2 kB".
std::string body_text(std::uint64_t bytes) {
  std::string text = format_bytes(bytes);
  const bool plain = text.back() >= '0' && text.back() <= '9';
  text.insert(plain ? text.size() : text.size() - 1, " ");
  return text + 'B';
}

/// "310ms"
std::string tight_duration(std::uint64_t ms) {
  std::string text = format_duration_ms(ms);
  std::erase(text, ' ');
  return text;
}

std::string_view status_colour(int status) {
  if (status >= 500) return sgr::kRed;
  if (status >= 400) return sgr::kYellow;
  return status >= 300 ? sgr::kCyan : sgr::kGreen;
}

/// "(h2)" was chosen; "(offers h2, http/1.1)" where the choice is encrypted.
std::string protocols_text(const TlsHello& hello) {
  std::vector<std::string> parts;
  if (!hello.alpn_chosen.empty()) {
    parts.push_back(shown(hello.alpn_chosen));
  } else if (!hello.alpn_offered.empty()) {
    std::vector<std::string> offered;
    std::ranges::transform(hello.alpn_offered, std::back_inserter(offered), shown);
    parts.push_back(fmt::format("offers {}", fmt::join(offered, ", ")));
  }
  if (hello.ech) parts.emplace_back("ech: perhaps a cover name");
  if (hello.moved) parts.emplace_back("moved");
  return parts.empty() ? "" : fmt::format(" ({})", fmt::join(parts, "; "));
}

std::string tls_name(const Flow& flow, const TlsHello& hello) {
  const std::string destination =
      hello.server_name.empty()
          ? flow.original_destination.text()
          : fmt::format("{}:{}", shown(hello.server_name), flow.original_destination.port);
  return fmt::format("{} {}{}", flow.protocol == Protocol::udp ? "quic" : "tls", destination,
                     protocols_text(hello));
}

/// "dns A www.example  198.18.0.5 (fake)".
std::string dns_text(const DnsAnswer& answer) {
  std::string text = fmt::format("dns {} {}  ", dns_type_text(answer.type), shown(answer.name));
  if (answer.addresses.empty()) return text + dns_rcode_text(answer.rcode);
  std::vector<std::string> addresses;
  for (const Address& address : answer.addresses) addresses.push_back(address.text());
  return text + fmt::format("{}{}", fmt::join(addresses, ", "), answer.fake ? " (fake)" : "");
}

/// "rejected by rule 3"; where none of them matched, the default did it.
std::string denial_text(const Flow& flow, ConnectReason reason) {
  if (flow.rule != 0) return fmt::format("{} {}", reason_text(reason), flow.rule);
  return reason == ConnectReason::rejected_by_rule ? "rejected by default" : "dropped by default";
}

std::string failure_text(const Flow& flow, const FlowEnd& end) {
  if (!end.failure) return std::string(end_reason_text(end.reason));
  const ConnectReason reason = end.failure->reason;
  const bool denied =
      reason == ConnectReason::rejected_by_rule || reason == ConnectReason::dropped_by_rule;
  std::string text = denied ? denial_text(flow, reason) : std::string(reason_text(reason));
  if (!end.failure->detail.empty()) text += fmt::format(" ({})", shown(end.failure->detail));
  return text;
}

/// "  rule 2 → wan2", or "  via direct" where no rule matched.
std::string via_text(const Flow& flow) {
  if (flow.rule == 0) return "  via " + shown(flow.way_out);
  return fmt::format("  rule {} → {}", flow.rule, shown(flow.way_out));
}

/// "  ↑1.2k ↓88k  310ms  closed"
std::string figures_text(const Flow& flow, const FlowEnd& end) {
  std::string text;
  if (flow.protocol == Protocol::udp) {
    text = fmt::format("  ↑{} ↓{} packets", end.datagrams_up, end.datagrams_down);
  }
  return text + fmt::format("  ↑{} ↓{}  {}  {}", format_bytes(end.bytes_up),
                            format_bytes(end.bytes_down), tight_duration(end.elapsed_ms),
                            end_reason_text(end.reason));
}

class ConsoleLog final : public TrafficLog {
 public:
  explicit ConsoleLog(const TrafficLogOptions& options)
      : colour_(options.colour),
        queue_(options.fd, std::make_unique<ConsoleLayout>(options.colour, options.names),
               options.names == nullptr) {}

  void flow_start(const Flow& flow) override { queue_.push(line(LogLine::Kind::start, flow)); }

  void http_request(const Flow& flow, const HttpRequest& request) override {
    LogLine out = line(LogLine::Kind::request, flow);
    const std::string words = request_text(request);
    const std::size_t width = 2 + columns(words);
    out.request = request.number;
    out.text = painted(colour_, sgr::kCyan, "→") + ' ' + words;
    if (!out.via.empty() && width + 2 < kViaColumn) out.text.append(kViaColumn - width - 2, ' ');
    out.name = "http " + flow.original_destination.text();
    queue_.push(std::move(out));
  }

  void http_response(const Flow& flow, const HttpResponse& response) override {
    LogLine out = line(LogLine::Kind::response, flow);
    out.request = response.request.number;
    std::string status = std::to_string(response.status);
    if (!response.reason.empty()) status += ' ' + shown(response.reason);
    out.text = "← " + painted(colour_, status_colour(response.status), status);
    if (response.body_end != BodyEnd::unseen) out.text += "  " + body_text(response.body_bytes);
    out.text += "  " + format_duration_ms(response.elapsed_ms);
    if (response.body_end == BodyEnd::cut) {
      out.text += "  " + painted(colour_, sgr::kRed, "cut short");
    }
    out.note = out.request == 0 ? "" : "  for " + request_text(response.request);
    queue_.push(std::move(out));
  }

  void tls_hello(const Flow& flow, const TlsHello& hello) override {
    LogLine out = line(LogLine::Kind::tls, flow);
    out.name = tls_name(flow, hello);
    queue_.push(std::move(out));
  }

  void dns_answer(const Flow& flow, const DnsAnswer& answer) override {
    LogLine out = line(LogLine::Kind::dns, flow);
    out.text = painted(colour_, sgr::kCyan, "→") + ' ' + dns_text(answer);
    queue_.push(std::move(out));
  }

  void flow_end(const Flow& flow, const FlowEnd& end) override {
    LogLine out = line(LogLine::Kind::end, flow);
    if (end.reason == EndReason::refused) {
      out.text = painted(colour_, sgr::kRed, "✗") + ' ';
      out.note = "  " + painted(colour_, sgr::kRed, failure_text(flow, end)) + "  " +
                 tight_duration(end.elapsed_ms);
    } else {
      out.text = "⇄ ";
      out.note = figures_text(flow, end);
    }
    queue_.push(std::move(out));
  }

  bool flush(std::uint32_t timeout_ms) override { return queue_.flush(timeout_ms); }
  bool stop(std::uint32_t timeout_ms) override { return queue_.stop(timeout_ms); }

 private:
  static LogLine line(LogLine::Kind kind, const Flow& flow) {
    LogLine out = {.kind = kind,
                   .flow = flow,
                   .time = std::chrono::system_clock::now(),
                   .request = 0,
                   .text = {},
                   .name = {},
                   .note = {},
                   .via = {}};
    if (!flow.way_out.empty()) out.via = via_text(flow);
    out.flow.way_out = {};
    out.flow.listener = {};
    return out;
  }

  bool colour_;
  LogQueue queue_;
};

}  // namespace

std::unique_ptr<TrafficLog> make_console_log(const TrafficLogOptions& options) {
  return std::make_unique<ConsoleLog>(options);
}

}  // namespace shunt
