// SPDX-License-Identifier: GPL-2.0-only
// NDJSON: one event, one line. The keys are frozen for a value of `v`: docs/json.md lists them and
// docs/json.schema.json checks them. A key without a value is left out.
#include <fmt/format.h>

#include <ctime>

#include "observe/flow_memos.h"
#include "observe/log_queue.h"
#include "observe/shown.h"
#include "observe/tokens.h"
#include "observe/traffic_log.h"

namespace shunt {
namespace {

using std::chrono::system_clock;

/// RFC 3339 in UTC, with milliseconds.
std::string time_text(system_clock::time_point time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time - seconds).count();
  std::tm utc{};
  const std::time_t second = system_clock::to_time_t(seconds);
  ::gmtime_r(&second, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, ms);
}

class JsonLine {
 public:
  JsonLine(std::string_view event, system_clock::time_point time)
      : text_(fmt::format(R"({{"v":1,"time":"{}","event":"{}")", time_text(time), event)) {}

  JsonLine& number(std::string_view key, std::uint64_t value) {
    fmt::format_to(std::back_inserter(text_), R"(,"{}":{})", key, value);
    return *this;
  }
  /// Left out when it is 0.
  JsonLine& nonzero(std::string_view key, std::uint64_t value) {
    return value == 0 ? *this : number(key, value);
  }
  JsonLine& flag(std::string_view key, bool value) {
    fmt::format_to(std::back_inserter(text_), R"(,"{}":{})", key, value);
    return *this;
  }
  /// Left out when empty.
  JsonLine& string(std::string_view key, std::string_view value) {
    return value.empty() ? *this : always(key, value);
  }
  JsonLine& always(std::string_view key, std::string_view value) {
    append_key(key);
    append_json_string(text_, value);
    return *this;
  }
  JsonLine& strings(std::string_view key, const std::vector<std::string>& values) {
    append_key(key);
    text_ += '[';
    for (const std::string& value : values) {
      if (text_.back() != '[') text_ += ',';
      append_json_string(text_, value);
    }
    text_ += ']';
    return *this;
  }
  /// Without the closing brace: the log's thread adds the process.
  std::string take() { return std::move(text_); }

 private:
  void append_key(std::string_view key) {
    fmt::format_to(std::back_inserter(text_), R"(,"{}":)", key);
  }
  std::string text_;
};

class JsonLayout final : public LineLayout {
 public:
  explicit JsonLayout(ProcessNames* names) : memos_(names), with_process_(names != nullptr) {}

  void append(LogLine line, std::string& out) override {
    out += line.text;
    if (with_process_) append_process(memos_.of(line.flow), out);
    out += "}\n";
    if (line.kind == LogLine::Kind::end) memos_.forget(line.flow.id);
  }

  void append_dropped(std::uint64_t lines, std::string& out) override {
    out += JsonLine("dropped", system_clock::now()).number("lines", lines).take() + "}\n";
  }

 private:
  static void append_process(const FlowMemos::Memo& memo, std::string& out) {
    if (!memo.process) return;
    out += R"(,"process":)";
    append_json_string(out, memo.process->name);
    fmt::format_to(std::back_inserter(out), R"(,"pid":{})", memo.process->pid);
  }

  FlowMemos memos_;
  bool with_process_;
};

class JsonLog final : public TrafficLog {
 public:
  explicit JsonLog(const TrafficLogOptions& options)
      : queue_(options.fd, std::make_unique<JsonLayout>(options.names), options.names == nullptr) {}

  void flow_start(const Flow& flow) override {
    JsonLine line = begin("start", flow);
    line.string("way_out", flow.way_out).string("listener", flow.listener);
    if (flow.announced != nullptr) {
      const Announcement& said = *flow.announced;
      line.always("proxy", said.sender.address.text())
          .number("proxy_port", said.sender.port)
          .string("authority", said.authority)
          .string("alpn", said.alpn)
          .string("unique_id", said.unique_id);
    }
    push(LogLine::Kind::start, flow, line);
  }

  void http_request(const Flow& flow, const HttpRequest& request) override {
    push(LogLine::Kind::request, flow,
         begin("http_request", flow)
             .number("request", request.number)
             .always("method", request.method)
             .always("target", request.target)
             .string("host", request.host)
             .string("way_out", flow.way_out)
             .nonzero("rule", flow.rule));
  }

  void http_response(const Flow& flow, const HttpResponse& response) override {
    JsonLine line = begin("http_response", flow);
    line.number("request", response.request.number)
        .number("status", static_cast<std::uint64_t>(response.status))
        .always("phrase", response.reason)
        .always("body", body_token(response.body_end));
    if (response.body_end != BodyEnd::unseen) line.number("body_bytes", response.body_bytes);
    line.number("elapsed_ms", response.elapsed_ms);
    push(LogLine::Kind::response, flow, line);
  }

  void tls_hello(const Flow& flow, const TlsHello& hello) override {
    JsonLine line = begin("tls", flow);
    line.string("server_name", hello.server_name)
        .string("version", tls_version_text(hello.version))
        .strings("alpn_offered", hello.alpn_offered)
        .string("alpn", hello.alpn_chosen)
        .flag("ech", hello.ech);
    if (hello.moved) line.flag("moved", true);
    line.string("way_out", flow.way_out).nonzero("rule", flow.rule);
    push(LogLine::Kind::tls, flow, line);
  }

  void dns_answer(const Flow& flow, const DnsAnswer& answer) override {
    std::vector<std::string> addresses;
    for (const Address& address : answer.addresses) addresses.push_back(address.text());
    push(LogLine::Kind::dns, flow,
         begin("dns", flow)
             .always("name", answer.name)
             .string("type", dns_type_text(answer.type))
             .string("rcode", dns_rcode_text(answer.rcode))
             .strings("addresses", addresses)
             .flag("fake", answer.fake)
             .string("way_out", flow.way_out)
             .nonzero("rule", flow.rule));
  }

  void flow_end(const Flow& flow, const FlowEnd& end) override {
    JsonLine line = begin("end", flow);
    line.always("reason", reason_token(end.reason));
    if (end.failure) {
      line.always("failure", failure_token(end.failure->reason))
          .string("detail", end.failure->detail);
      if (end.failure->os_error > 0) {
        line.number("errno", static_cast<std::uint64_t>(end.failure->os_error));
      }
    }
    line.number("bytes_up", end.bytes_up).number("bytes_down", end.bytes_down);
    if (flow.protocol == Protocol::udp) {
      line.number("datagrams_up", end.datagrams_up).number("datagrams_down", end.datagrams_down);
    }
    line.number("elapsed_ms", end.elapsed_ms)
        .string("host", flow.host.name)
        .string("host_from", name_source_token(flow.host.source));
    if (flow.host.ech) line.flag("ech", true);
    line.string("way_out", flow.way_out).nonzero("rule", flow.rule);
    push(LogLine::Kind::end, flow, line);
  }

  bool flush(std::uint32_t timeout_ms) override { return queue_.flush(timeout_ms); }
  bool stop(std::uint32_t timeout_ms) override { return queue_.stop(timeout_ms); }

 private:
  static JsonLine begin(std::string_view event, const Flow& flow) {
    JsonLine line(event, system_clock::now());
    line.number("flow", flow.id)
        .always("protocol", flow.protocol == Protocol::udp ? "udp" : "tcp")
        .always("capture", capture_token(flow.method))
        .always("client", flow.source.address.text())
        .number("client_port", flow.source.port)
        .always("destination", flow.original_destination.address.text())
        .number("destination_port", flow.original_destination.port);
    return line;
  }

  void push(LogLine::Kind kind, const Flow& flow, JsonLine& line) {
    LogLine out;
    out.kind = kind;
    out.flow = flow;
    out.flow.way_out = {};
    out.flow.listener = {};
    out.text = line.take();
    queue_.push(std::move(out));
  }
  void push(LogLine::Kind kind, const Flow& flow, JsonLine&& line) { push(kind, flow, line); }

  LogQueue queue_;
};

}  // namespace

std::unique_ptr<TrafficLog> make_json_log(const TrafficLogOptions& options) {
  return std::make_unique<JsonLog>(options);
}

}  // namespace shunt
