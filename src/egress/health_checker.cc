// SPDX-License-Identifier: GPL-2.0-only
#include "egress/health_checker.h"

#include <fmt/format.h>

#include <utility>

#include "base/error_numbers.h"
#include "base/log.h"
#include "egress/race.h"
#include "egress/resolve_server.h"
#include "egress/stream_io.h"
#include "egress/way_out_url.h"
#include "egress/wire/http_connect.h"
#include "net/frame_pool.h"

namespace shunt {
namespace {

constexpr std::string_view kTcp = "tcp://";
constexpr std::string_view kHttp = "http://";
constexpr std::uint16_t kHttpPort = 80;

/// "host:port" or "[v6]:port"; without a port it is `port`, and 0 of that makes one necessary.
std::optional<std::pair<std::string, std::uint16_t>> split_authority(std::string_view text,
                                                                     std::uint16_t port) {
  // The parser of --via knows brackets, ports and what a host may hold.
  const auto url = parse_proxy_url("socks5://" + std::string(text));
  if (!url || url->user) return std::nullopt;
  const bool given = text.ends_with(':' + std::to_string(url->port));
  if (!given && port == 0) return std::nullopt;
  return std::pair(url->host, given ? url->port : port);
}

std::string context_of(const Group& group) {
  return fmt::format("way out \"{}\", check", group.name());
}

Failure bad_target(const Group& group) {
  return Failure(make_error(Kind::configuration, error_number::kBadWayOut,
                            context_of(group) + ": the target is no address and port",
                            "tcp://192.0.2.1:443 or http://192.0.2.1/alive"));
}

}  // namespace

std::optional<std::string> check_host(const CheckSpec& check) {
  std::string_view rest = check.target;
  const auto scheme = rest.find("://");
  if (scheme == std::string_view::npos) return std::nullopt;
  rest.remove_prefix(scheme + std::string_view("://").size());
  auto authority = split_authority(rest.substr(0, rest.find('/')), kHttpPort);
  if (!authority) return std::nullopt;
  return std::move(authority->first);
}

Result<HealthChecker::Target> HealthChecker::target_of(const Group& group) {
  std::string_view rest = group.check()->target;
  if (rest.empty()) return Target{.endpoint = {}, .host = {}, .request = {}, .proxy = true};
  const bool http = rest.starts_with(kHttp);
  if (!http && !rest.starts_with(kTcp)) return bad_target(group);
  rest.remove_prefix(http ? kHttp.size() : kTcp.size());
  const auto slash = rest.find('/');
  const auto authority = rest.substr(0, slash);
  const auto path = slash == std::string_view::npos ? "/" : rest.substr(slash);
  if (!http && slash != std::string_view::npos) return bad_target(group);
  if (path.find_first_of(" \r\n\t") != std::string_view::npos) return bad_target(group);
  const auto where = split_authority(authority, http ? kHttpPort : 0);
  if (!where) return bad_target(group);
  Target target{.endpoint = {}, .host = where->first, .request = {}};
  auto addresses = resolve_server(where->first, where->second);
  if (!addresses) {
    Error error = with_context(std::move(addresses).error(), context_of(group));
    error.kind = Kind::configuration;
    error.number = error_number::kBadWayOut;
    error.help = "an address instead of the name works without a resolver";
    return Failure(std::move(error));
  }
  target.endpoint = addresses->front();
  if (http) {
    target.request =
        fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: shunt\r\nConnection: close\r\n\r\n",
                    path, authority);
  }
  return target;
}

Result<std::unique_ptr<HealthChecker>> HealthChecker::create(
    std::span<const std::shared_ptr<const Group>> groups) {
  std::unique_ptr<HealthChecker> checker(new HealthChecker());
  for (const auto& group : groups) {
    if (!group->check()) continue;
    const Target target = SHUNT_TRY(target_of(*group));
    for (std::size_t member = 0; member < group->size(); ++member) {
      checker->checks_.push_back({.group = group, .member = member, .target = target});
    }
  }
  if (checker->checks_.empty()) return checker;
  checker->loop_ = SHUNT_TRY(EventLoop::create());
  return checker;
}

Result<void> HealthChecker::start() {
  if (!checks_.empty()) thread_ = SHUNT_TRY(start_thread([this] { run(); }));
  return {};
}

void HealthChecker::begin() {
  if (checks_.empty()) return;
  loop_->post([this] {
    tasks_ = static_cast<int>(checks_.size());
    for (const Check& check : checks_) spawn(watch(check));
  });
}

int HealthChecker::most_descriptors() const {
  return static_cast<int>(checks_.size()) * (1 + kFdsOfRace);
}

HealthChecker::~HealthChecker() {
  if (!thread_.joinable()) return;
  loop_->post([this] {
    loop_->cancel_all();
    if (tasks_ == 0) loop_->stop();
  });
  thread_.join();
}

void HealthChecker::run() {
  if (const auto ran = loop_->run(); !ran) log(LogLevel::error, ran.error().text());
  release_idle_frames();
}

// A look begins with each interval: its timeout is no longer than that.
Task<> HealthChecker::watch(const Check& check) {
  const CheckSpec& spec = *check.group->check();
  while (!loop_->cancelled()) {
    const Deadline next(spec.interval_ms);
    const auto took_us = co_await alive(check, Deadline(spec.timeout_ms));
    if (!loop_->cancelled()) report(check, took_us);
    (void)co_await loop_->sleep(next.left_ms());
  }
  if (--tasks_ == 0) loop_->stop();
}

Task<std::optional<std::uint32_t>> HealthChecker::alive(const Check& check, Deadline deadline) {
  const CheckSpec& spec = *check.group->check();
  const WayOut& member = check.group->member(check.member);
  Flow flow;
  flow.original_destination = check.target.endpoint;
  flow.started = Clock::now();
  flow.dial_by = deadline.at();
  if (check.target.proxy) {
    const auto greeted = co_await member.greet(*loop_, deadline.at());
    if (!greeted) co_return std::nullopt;
    co_return us_since(flow.started);
  }
  const Hints hints{.host = check.target.host, .source = NameSource::none};
  auto upstream = co_await member.connect(*loop_, flow, hints);
  if (!upstream) co_return std::nullopt;
  const std::uint32_t took_us = us_since(flow.started);
  if (check.target.request.empty()) co_return took_us;
  auto sent = co_await send_all(*loop_, *upstream, check.target.request, deadline);
  if (!sent) co_return std::nullopt;
  std::string received = std::move(upstream->early_data);
  for (;;) {
    const auto response = http_connect::decode_response(received);
    if (response.malformed()) co_return std::nullopt;
    if (response.complete()) {
      const int status = response.value.status;
      if (status < spec.lowest_status || status > spec.highest_status) co_return std::nullopt;
      co_return took_us;
    }
    char buffer[2048];
    const auto count = co_await receive_some(*loop_, *upstream, buffer, sizeof buffer, deadline);
    if (!count || *count == 0) co_return std::nullopt;
    received.append(buffer, *count);
  }
}

void HealthChecker::report(const Check& check, std::optional<std::uint32_t> took_us) {
  if (!check.group->report_check(check.member, took_us)) return;
  const bool alive = took_us.has_value();
  log(alive ? LogLevel::info : LogLevel::warning,
      fmt::format("{} ({}): {}", check.group->name(), check.group->status()[check.member].name,
                  alive ? "alive again" : "found dead by its check"));
}

}  // namespace shunt
