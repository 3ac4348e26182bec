// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/error_numbers.h"
#include "base/suggest.h"
#include "capture/bridge_netfilter.h"
#include "capture/gateway_plan.h"
#include "capture/notrack.h"
#include "cli/commands.h"
#include "cli/config_report.h"
#include "cli/gateway_request.h"
#include "cli/gateway_steps.h"
#include "cli/help_text.h"
#include "cli/output.h"
#include "cli/place.h"
#include "config/config.h"
#include "kernel/capabilities.h"
#include "kernel/features.h"
#include "kernel/instance.h"
#include "net/socket.h"

namespace shunt::cli {
namespace {

constexpr std::string_view kSubjects[] = {"gateway", "serve"};

constexpr Example kExamples[] = {
    {"shunt plan gateway -i br-lan --host", "the rules, routes and sysctls of that gateway"},
    {"shunt plan serve -c shunt.toml", "and of a configuration file"},
};

/// A port that is free now; the gateway takes one that is free then.
Result<std::uint16_t> free_port() {
  const auto probe = SHUNT_TRY(make_socket(Family::ipv4, SocketType::stream));
  SHUNT_CHECK(bind_to(probe.get(), Endpoint{Address::loopback(Family::ipv4), 0}));
  return SHUNT_TRY(local_endpoint(probe.get())).port;
}

/// Without the privilege to try it, the method that shunt would try first.
MethodDecision expected_method(MethodChoice choice) {
  return {
      .method = choice == MethodChoice::redirect ? CaptureMethod::redirect : CaptureMethod::tproxy,
      .why_not_tproxy = {}};
}

/// Everything that is no command goes behind a #, as all tools of the plan take it.
Result<int> print_plan(const GatewayRequest& request) {
  const bool privileged = has_capability(CAP_NET_ADMIN);
  const bool ipv6 = kernel_has_ipv6();
  auto decision = expected_method(request.capture.method);
  Features features;
  if (privileged) {
    features = probe_features();
    decision = SHUNT_TRY(decide_method(request.capture.method, features, ipv6,
                                       bridge_netfilter_on(request.capture.interfaces, ipv6)));
  }
  const auto allotment = SHUNT_TRY(Instance::preview());
  const LeavingOptions& leaving = request.capture.leaving;
  if (privileged) {
    SHUNT_CHECK(check_leaving(leaving, decision.method, features, allotment.marks));
    SHUNT_CHECK(check_notrack(request.capture, decision.method));
  }
  TableMarks table_marks(allotment.table_mask);
  SHUNT_CHECK(table_marks.assign(leaving.tables));
  const HoldDecision hold = SHUNT_TRY(decide_hold(
      request.capture, decision.method, privileged ? &features : nullptr, allotment.marks));
  const auto plan = plan_gateway(request.capture, decision.method, allotment,
                                 SHUNT_TRY(free_port()), ipv6, table_marks, hold.spec);
  std::string text;
  for (const PlainListener& listener : request.listeners) {
    text += fmt::format("# listens on {}\n", listener.text());
  }
  const bool captures = request.capture.captures();
  text += captures ? fmt::format("# captures {}\n", request.captured_text())
                   : std::string("# captures nothing\n");
  if (!request.capture.changes_kernel()) {
    SHUNT_CHECK(print(text));
    return 0;
  }
  if (!decision.why_not_tproxy.empty()) {
    text += fmt::format("# by REDIRECT, since TPROXY does not work here: {}\n",
                        decision.why_not_tproxy);
  }
  if (!privileged) {
    text +=
        "# without CAP_NET_ADMIN nothing could be tried: the method, the marks and the names "
        "may differ\n";
  }
  if (!hold.why_not.empty()) {
    text +=
        fmt::format("# clients are let in before their server has answered: {}\n", hold.why_not);
  }
  if (captures) {
    text += fmt::format("# port {}: the listeners'; free now, chosen again at the start\n",
                        plan.spec.port);
    if (plan.spec.udp_listeners > 1 && plan.method == CaptureMethod::tproxy) {
      text += fmt::format("# ports {0} to {1}: the workers' for UDP\n", plan.spec.port,
                          plan.spec.port + plan.spec.udp_listeners - 1);
    }
  }
  for (const std::string& warning : ways_out_warnings(request)) {
    text += fmt::format("# warning: {}\n", warning);
  }
  SHUNT_CHECK(print(text + plan.text()));
  return 0;
}

Result<int> plan_gateway_command(const Options& options) {
  const auto request = SHUNT_TRY(gateway_request(options));
  return print_plan(request);
}

Result<int> plan_serve_command(const Options& options) {
  auto config = read_config(options.value("config"));
  if (!config) return report_mistakes(config.error());
  const auto checked = check_config(*std::move(config));
  if (!checked) return report_mistakes(checked.error());
  const auto request = SHUNT_TRY(gateway_request(*checked));
  const bool toa = std::ranges::any_of(checked->config.ways_out, &WayOutSpec::toa);
  if (toa) SHUNT_CHECK(print("# attaches the eBPF program shunt_toa to shunt's own cgroup\n"));
  return print_plan(request);
}

Error no_such_plan(const std::vector<std::string>& words) {
  Error error =
      make_error(Kind::usage, error_number::kUnexpectedWord,
                 fmt::format("there is no plan of \"{}\"", words.front()),
                 "shunt plan gateway [the gateway's options], or shunt plan serve [-c FILE]");
  const std::vector<std::string_view> arguments(words.begin(), words.end());
  error.place = point_at(kPlanCommand.name, arguments,
                         {.argument = 0, .first = 0, .length = words.front().size()},
                         did_you_mean(closest_word(words.front(), kSubjects)));
  return error;
}

Result<int> run_plan(const Options& options) {
  const std::vector<std::string>& words = options.words();
  const bool serve = words.front() == kServeCommand.name;
  if (!serve && words.front() != kGatewayCommand.name) return Failure(no_such_plan(words));
  const Command& subject = serve ? kServeCommand : kGatewayCommand;
  const std::vector<std::string_view> arguments(words.begin() + 1, words.end());
  const Options planned = SHUNT_TRY(parse(subject, arguments));
  if (!planned.wants_help()) {
    return serve ? plan_serve_command(planned) : plan_gateway_command(planned);
  }
  SHUNT_CHECK(print(command_help(subject)));
  return 0;
}

}  // namespace

constinit const Command kPlanCommand = {
    .name = "plan",
    .summary = "show what a gateway would change, and change nothing",
    .usage = "gateway|serve [the command's options]",
    .description =
        "Prints the nftables text, the routing rules, the routes and the sysctls that the command "
        "would apply, exactly as it would apply them.",
    .examples = kExamples,
    .word_choices = kSubjects,
    .minimum_words = 1,
    .maximum_words = std::numeric_limits<unsigned>::max(),
    .missing_word = "what to plan",
    .options_end_at_first_word = true,
    .first_word_is_command = true,
    .run = run_plan,
};

}  // namespace shunt::cli
