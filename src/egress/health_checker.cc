// SPDX-License-Identifier: GPL-2.0-only
#include "egress/health_checker.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/error_numbers.h"
#include "base/escape.h"
#include "base/log.h"
#include "egress/check_target.h"
#include "egress/race.h"
#include "egress/resolve_server.h"
#include "egress/stream_io.h"
#include "egress/wire/http_connect.h"
#include "net/frame_pool.h"

namespace shunt {
namespace {

std::string context_of(const Group& group) {
  return fmt::format("way out \"{}\", check", group.name());
}

std::unexpected<std::string> dead(const ConnectFailure& failure) {
  return std::unexpected(failure.detail.empty() ? std::string(reason_text(failure.reason))
                                                : failure.detail);
}

/// "204", "200-399".
std::string expected(const CheckSpec& spec) {
  if (spec.lowest_status == spec.highest_status) return std::to_string(spec.lowest_status);
  return fmt::format("{}-{}", spec.lowest_status, spec.highest_status);
}

}  // namespace

std::optional<std::string> check_host(const CheckSpec& check) {
  auto target = parse_check_target(check.target);
  if (!target) return std::nullopt;
  return std::move(target->host);
}

Result<HealthChecker::Target> HealthChecker::target_of(const Group& group) {
  const std::string& text = group.check()->target;
  if (text.empty()) return Target{.endpoint = {}, .host = {}, .request = {}, .proxy = true};
  const auto where = parse_check_target(text);
  if (!where) return Failure(with_context(where.error(), context_of(group)));
  Target target{.endpoint = {}, .host = where->host, .request = {}};
  auto addresses = resolve_server(where->host, where->port);
  if (!addresses) {
    Error error = with_context(std::move(addresses).error(), context_of(group));
    error.kind = Kind::configuration;
    error.number = error_number::kBadWayOut;
    error.help = "an address instead of the name works without a resolver";
    return Failure(std::move(error));
  }
  target.endpoint = addresses->front();
  if (where->http) {
    target.request =
        fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: shunt\r\nConnection: close\r\n\r\n",
                    where->path, where->authority);
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
    const Found found = co_await alive(check, Deadline(spec.timeout_ms));
    if (!loop_->cancelled()) report(check, found);
    (void)co_await loop_->sleep(next.left_ms());
  }
  if (--tasks_ == 0) loop_->stop();
}

Task<HealthChecker::Found> HealthChecker::alive(const Check& check, Deadline deadline) {
  const CheckSpec& spec = *check.group->check();
  const WayOut& member = check.group->member(check.member);
  Flow flow;
  flow.original_destination = check.target.endpoint;
  flow.started = Clock::now();
  flow.dial_by = deadline.at();
  if (check.target.proxy) {
    const auto greeted = co_await member.greet(*loop_, deadline.at());
    if (!greeted) co_return dead(greeted.error());
    co_return us_since(flow.started);
  }
  const Hints hints{.host = check.target.host, .source = NameSource::none};
  auto upstream = co_await member.connect(*loop_, flow, hints);
  if (!upstream) co_return dead(upstream.error());
  const std::uint32_t took_us = us_since(flow.started);
  if (check.target.request.empty()) co_return took_us;
  auto sent = co_await send_all(*loop_, *upstream, check.target.request, deadline);
  if (!sent) co_return dead(sent.error());
  std::string received = std::move(upstream->early_data);
  for (;;) {
    const auto response = http_connect::decode_response(received);
    if (response.malformed()) co_return std::unexpected("the answer is no HTTP");
    if (response.complete()) {
      const int status = response.value.status;
      if (status >= spec.lowest_status && status <= spec.highest_status) co_return took_us;
      co_return std::unexpected(fmt::format("status {}, {} is expected", status, expected(spec)));
    }
    char buffer[2048];
    const auto count = co_await receive_some(*loop_, *upstream, buffer, sizeof buffer, deadline);
    if (!count) co_return dead(count.error());
    if (*count == 0) co_return std::unexpected("the connection ended before an answer");
    received.append(buffer, *count);
  }
}

void HealthChecker::report(const Check& check, const Found& found) {
  const bool alive = found.has_value();
  const auto took_us = alive ? std::optional(*found) : std::nullopt;
  if (!check.group->report_check(check.member, took_us)) return;
  log(alive ? LogLevel::info : LogLevel::warning,
      fmt::format("{} ({}): {}", check.group->name(), check.group->status()[check.member].name,
                  alive ? "alive again" : "found dead by its check: " + escaped(found.error())));
}

}  // namespace shunt
