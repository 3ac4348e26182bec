// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <string>
#include <string_view>
#include <utility>

#include "base/error_numbers.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/config_report.h"
#include "cli/gateway_steps.h"
#include "cli/proxy_setup.h"
#include "cli/report.h"
#include "cli/rules_report.h"
#include "cli/service.h"
#include "cli/stop_signals.h"
#include "control/server.h"
#include "control/service_manager.h"
#include "kernel/capabilities.h"

namespace shunt::cli {
namespace {

constexpr std::uint32_t kLogFlushMs = 1000;
// Of lines in one answer: what stands around each of them comes on top.
constexpr std::size_t kPageBytes = control::kAnswerBytes / 2;

constexpr Option kOptions[] = {
    {.name = "config",
     .short_name = 'c',
     .type = ValueType::path,
     .value = "FILE",
     .help = "the configuration",
     .fallback = kDefaultConfigFile},
};

constexpr Example kExamples[] = {
    {"sudo shunt serve -c shunt.toml", "run a configuration in the foreground"},
    {"sudo shunt reload", "and let it read the file again"},
};

/// The service manager is no reason to fail: shunt serves all the same.
void tell(const Result<void>& told) {
  if (!told) log(LogLevel::warning, told.error().text());
}

void log_mistakes(const Mistakes& mistakes) {
  for (const Error& mistake : mistakes) {
    const std::string place = mistake.place.substr(0, mistake.place.find('\n'));
    log(LogLevel::error, fmt::format("{}{}{}", place, place.empty() ? "" : ": ", mistake.text()));
  }
}

class Serving {
 public:
  Serving(Service& service, control::Server& control, const StopSignals& signals)
      : service_(service), control_(control), signals_(signals) {}

  /// Until a signal says stop.
  Result<void> run() {
    while (!stopping_) {
      std::array<pollfd, 3> polled = {
          {{.fd = signals_.fd(), .events = POLLIN, .revents = 0},
           {.fd = control_.fd(), .events = POLLIN, .revents = 0},
           {.fd = service_.capture().guard_fd(), .events = POLLIN, .revents = 0}}};
      const int patience = control_.timeout_ms();
      const int timeout = patience < 0 ? Service::kLookMs : std::min(patience, Service::kLookMs);
      if (::poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR) {
        return Failure(errno_error("poll"));
      }
      if (polled[2].revents != 0) service_.capture().restore_deleted();
      take_signals();
      control_.serve([this](const std::vector<std::string>& words) { return answer(words); });
      look_at_files();
    }
    return {};
  }

 private:
  using Clock = std::chrono::steady_clock;

  void take_signals() {
    for (unsigned number = signals_.next(); number != 0 && !stopping_; number = signals_.next()) {
      if (number == SIGHUP) {
        (void)reload(Proxy::LiveFlows::keep);
      } else {
        stopping_ = true;
      }
    }
  }

  control::Answer reload(Proxy::LiveFlows live) {
    tell(notify_reloading());
    auto reloaded = service_.reload(live);
    tell(notify_ready(service_.text()));
    if (reloaded) {
      log(LogLevel::info, *reloaded);
      for (const std::string& warning : service_.warnings()) log(LogLevel::warning, warning);
      return {.exit_code = 0, .texts = {*std::move(reloaded)}, .errors = {}};
    }
    log(LogLevel::error, "the configuration is not used, the old one stays");
    log_mistakes(reloaded.error());
    const int code = exit_code(reloaded.error().front().kind);
    return {.exit_code = code, .texts = {}, .errors = std::move(reloaded).error()};
  }

  control::Answer answer(const std::vector<std::string>& words) {
    const std::vector<std::string> plain = {"reload"};
    const std::vector<std::string> closing = {"reload", "close-changed"};
    if (words == plain) return reload(Proxy::LiveFlows::keep);
    if (words == closing) return reload(Proxy::LiveFlows::end_changed);
    if (words.size() == 3 && words[0] == "rules") return rules(words[1] == "json", words[2]);
    return {.exit_code = exit_code(Kind::usage),
            .texts = {},
            .errors = {make_error(Kind::usage, error_number::kUnknownCommand,
                                  "this shunt knows no such request")}};
  }

  /// A page of `shunt rules`: cli/rules_report.h.
  control::Answer rules(bool json, std::string_view first_text) const {
    const std::uint32_t last = service_.rules().size() + 1;
    std::uint32_t first = 0;
    std::from_chars(first_text.begin(), first_text.end(), first);
    const auto hits = service_.rule_hits();
    if (!hits)
      return {.exit_code = exit_code(hits.error().kind), .texts = {}, .errors = {hits.error()}};
    first = std::clamp(first, 1U, last);
    auto lines = rule_lines(service_.rules(), *hits, json, first, kPageBytes);
    const auto next = first + static_cast<std::uint32_t>(lines.size());
    const RulesPage page{.state = service_.rules_state(), .next = next > last ? 0 : next};
    lines.insert(lines.begin(), page_text(page));
    return {.exit_code = 0, .texts = std::move(lines), .errors = {}};
  }

  /// By the clock, since a busy control socket would otherwise keep the lists from being looked at.
  void look_at_files() {
    if (Clock::now() < next_look_) return;
    next_look_ = Clock::now() + std::chrono::milliseconds(Service::kLookMs);
    service_.look_at_files();
    service_.forget_earlier_ways_out();
  }

  Service& service_;
  control::Server& control_;
  const StopSignals& signals_;
  Clock::time_point next_look_ = Clock::now();
  bool stopping_ = false;
};

Result<void> serve(Service& service, const StopSignals& signals) {
  auto control = SHUNT_TRY(control::Server::create(service.capture().control_socket()));
  const GatewayRequest& request = service.request();
  if (request.capture.captures()) {
    log(LogLevel::info, fmt::format("capturing {}", request.captured_text()));
    say_method(request.capture.method, service.capture().method());
    say_connect(service.capture().why_not_held());
    warn_of_private_sources(request);
  }
  for (const PlainListener& listener : request.listeners) {
    log(LogLevel::info, fmt::format("listening on {}", listener.text()));
  }
  for (const std::string& warning : service.warnings()) log(LogLevel::warning, warning);
  for (const std::string& warning : ways_out_warnings(service.request())) {
    log(LogLevel::warning, warning);
  }
  for (const std::string& problem : SHUNT_TRY(service.install())) {
    log(LogLevel::warning, problem);
  }
  log(LogLevel::info, fmt::format("ready: {}; room for {} connections at once", service.text(),
                                  service.proxy().flow_capacity()));
  tell(notify_ready(service.text()));
  SHUNT_CHECK(Serving(service, control, signals).run());
  tell(notify_stopping());
  drain(service.proxy(), service.capture(), signals, service.drain_timeout_ms());
  service.proxy().stop();
  if (auto* traffic = service.traffic_log(); traffic != nullptr) traffic->stop(kLogFlushMs);
  return {};
}

Result<int> run_serve(const Options& options) {
  auto config = read_config(options.value("config"));
  if (!config) return report_mistakes(config.error());
  auto checked = check_config(*std::move(config));
  if (!checked) return report_mistakes(checked.error());
  report_warnings(config_warnings(*checked));
  if (!has_capability(CAP_NET_ADMIN)) {
    return Failure(make_error(Kind::privilege, error_number::kGatewayPrivilege,
                              "capturing a LAN or this machine's traffic needs CAP_NET_ADMIN",
                              fmt::format("sudo shunt {}", command_line(options))));
  }
  const auto signals = SHUNT_TRY(StopSignals::create());
  raise_descriptor_limit();
  const auto service = SHUNT_TRY(Service::create(*std::move(checked)));
  SHUNT_CHECK(serve(*service, signals));
  return 0;
}

}  // namespace

constinit const Command kServeCommand = {
    .name = "serve",
    .summary = "run the gateway of a configuration file",
    .usage = "[-c FILE]",
    .description =
        "Runs in the foreground, as a service manager wants it (systemd: Type=notify), until "
        "SIGTERM or SIGINT; everything is undone on exit. SIGHUP and `shunt reload` read the file "
        "again: it is used as a whole or, with a mistake in it, not at all. Files of names and "
        "networks that rules use are read again when they change.\n\n"
        "Traffic lines go to standard output, diagnostics to standard error.",
    .options = kOptions,
    .examples = kExamples,
    .run = run_serve,
};

}  // namespace shunt::cli
