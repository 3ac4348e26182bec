// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <utility>

#include "base/error_numbers.h"
#include "base/log.h"
#include "capture/gateway_capture.h"
#include "capture/host_processes.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/dns_setup.h"
#include "cli/gateway_request.h"
#include "cli/gateway_steps.h"
#include "cli/least_privilege.h"
#include "cli/proxy_loop.h"
#include "cli/proxy_setup.h"
#include "cli/rule_options.h"
#include "cli/stop_signals.h"
#include "kernel/capabilities.h"

namespace shunt::cli {
namespace {

constexpr std::uint32_t kLogFlushMs = 1000;
constexpr std::string_view kMethods[] = {"auto", "tproxy", "redirect"};
constexpr std::string_view kOnExit[] = {"open", "closed"};

constexpr Option kOptions[] = {
    {.name = "interface",
     .short_name = 'i',
     .type = ValueType::interface,
     .value = "IFACE",
     .help = "capture what arrives on IFACE; without it, on every interface with a private address "
             "that does not carry the default route",
     .repeatable = true},
    {.name = "host", .help = "capture this machine's own traffic too"},
    {.name = "loopback", .help = "and its connections to its own addresses; needs --host"},
    {.name = "method",
     .type = ValueType::choice,
     .value = "METHOD",
     .help = "how to capture",
     .fallback = "auto",
     .choices = kMethods},
    {.name = "exclude",
     .type = ValueType::text,
     .value = "RULE",
     .help = "leave alone what matches all terms of RULE: to CIDR,… port N,N-M proto tcp|udp "
             "client CIDR uid N",
     .repeatable = true},
    {.name = "on-exit",
     .type = ValueType::choice,
     .value = "WHAT",
     .help = "what becomes of captured traffic when shunt is gone: it goes on directly, or is "
             "blocked",
     .fallback = "open",
     .choices = kOnExit},
    {.name = "masquerade", .help = "masquerade what leaves uncaptured with a private address"},
    {.name = "notrack",
     .help = "captured TCP of the LAN is not tracked in the kernel, which is cheaper; connections "
             "from before are reset; needs TPROXY and --connect early"},
    {.name = "workers",
     .type = ValueType::count,
     .value = "N",
     .help = "how many threads carry traffic; without it, one for each core",
     .minimum = 1,
     .maximum = 256},
    {.name = "drain",
     .type = ValueType::duration,
     .value = "TIME",
     .help = "how long live connections may go on when shunt is told to stop",
     .fallback = "10s"},
    {.name = "debug-unmarked",
     .help = "leave the mark off upstream connections, to test the other guards against loops",
     .hidden = true},
};

constexpr Example kExamples[] = {
    {"sudo shunt gateway -i br-lan", "proxy what the machines behind br-lan do"},
    {"sudo shunt gateway -i br-lan --rule 'host ads.example,*.ads.example -> reject'",
     "refuse the LAN a host"},
    {"sudo shunt gateway --host --exclude 'to 192.168.0.0/16'",
     "this machine's own traffic too, but not what stays in the house"},
};

Error without_privilege(const Options& options) {
  return make_error(
      Kind::privilege, error_number::kGatewayPrivilege,
      "capturing a LAN or this machine's traffic needs CAP_NET_ADMIN",
      fmt::format("sudo shunt {}      (one command only? `shunt run CMD` needs no root)",
                  command_line(options)));
}

void say_way_out(const WayOut& way_out, CaptureMethod method) {
  if (way_out.name() == "direct") return;
  log(LogLevel::info, fmt::format("via {}", way_out.name()));
  if (!way_out.carries_udp() && method == CaptureMethod::tproxy) {
    log(LogLevel::warning,
        fmt::format("{} carries no UDP: captured datagrams (DNS, QUIC) are refused; --exclude "
                    "'proto udp' lets them go directly",
                    way_out.name()));
  }
}

Result<std::unique_ptr<Proxy>> start_proxy(const Options& options, const TrafficSetup& traffic,
                                           GatewayCapture& capture, ProcessFinder* processes,
                                           std::shared_ptr<const DnsSettings> dns) {
  ProxyOptions proxy = traffic.proxy_options(options);
  proxy.processes = processes;
  proxy.dns = std::move(dns);
  proxy.workers = capture.take_listeners();
  proxy.own_tables = parts_descriptor_tables(options.count("workers"));
  proxy.method = capture.method().method;
  proxy.own_listeners = capture.own_listeners();
  proxy.reply_sockets = capture.reply_sockets();
  return Proxy::start(std::move(proxy));
}

Result<void> run_until_stopped(GatewayCapture& capture, const StopSignals& signals) {
  while (true) {
    pollfd polled[] = {{.fd = signals.fd(), .events = POLLIN, .revents = 0},
                       {.fd = capture.guard_fd(), .events = POLLIN, .revents = 0}};
    if (::poll(polled, std::size(polled), -1) < 0 && errno != EINTR) {
      return Failure(errno_error("poll"));
    }
    if (polled[1].revents != 0) capture.restore_deleted();
    if (polled[0].revents != 0 && signals.take()) return {};
  }
}

Result<int> run_gateway(const Options& options) {
  const auto request = SHUNT_TRY(gateway_request(options));
  if (!has_capability(CAP_NET_ADMIN)) return Failure(without_privilege(options));
  const auto signals = SHUNT_TRY(StopSignals::create());
  raise_descriptor_limit();
  auto capture = SHUNT_TRY(GatewayCapture::create(request.capture));
  auto traffic = SHUNT_TRY(set_up_traffic(options, request.rules, capture.egress_mark()));
  const auto loop =
      proxy_loop_warning(*traffic.way_out, request.capture, *request.rules, Wording::flags);
  const DnsConfig dns_options = SHUNT_TRY(dns_config(options));
  auto dns = SHUNT_TRY(set_up_dns(dns_options, capture.method().method));
  static_cast<void>(
      SHUNT_TRY(give_up_privileges(privilege_needs(*request.rules, request.capture.host))));
  traffic.start_log(options.has("json"), STDOUT_FILENO, nullptr);
  std::unique_ptr<HostProcesses> processes;
  if (request.capture.host) processes = SHUNT_TRY(HostProcesses::create());
  const auto proxy =
      SHUNT_TRY(start_proxy(options, traffic, capture, processes.get(), std::move(dns)));

  log(LogLevel::info, fmt::format("capturing {}", request.captured_text()));
  say_method(request.capture.method, capture.method());
  say_connect(capture.why_not_held());
  if (const std::string rules = rules_text(*request.rules); !rules.empty()) {
    log(LogLevel::info, rules);
  }
  say_way_out(*traffic.way_out, capture.method().method);
  if (loop) log(LogLevel::warning, *loop);
  warn_of_private_sources(request);
  for (const std::string& problem : SHUNT_TRY(capture.install())) {
    log(LogLevel::warning, problem);
  }
  log(LogLevel::info,
      fmt::format("ready: room for {} connections at once", proxy->flow_capacity()));

  SHUNT_CHECK(run_until_stopped(capture, signals));
  drain(*proxy, capture, signals, options.duration_ms("drain"));
  proxy->stop();
  if (traffic.log) traffic.log->stop(kLogFlushMs);
  return 0;
}

}  // namespace

constinit const Command kGatewayCommand = {
    .name = "gateway",
    .summary = "proxy a LAN through this machine, until interrupted",
    .usage = "[-i IFACE]… [--host] [options]",
    .description =
        "Captures what this machine forwards for the machines behind IFACE, and with --host its "
        "own traffic, and carries each connection to where it was going. Everything is undone on "
        "exit.\n\n"
        "Traffic lines go to standard output, diagnostics to standard error.",
    .options = kOptions,
    .shared_options = kTrafficOptions,
    .examples = kExamples,
    .run = run_gateway,
};

}  // namespace shunt::cli
