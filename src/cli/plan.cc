// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error_numbers.h"
#include "base/suggest.h"
#include "capture/gateway_plan.h"
#include "cli/commands.h"
#include "cli/gateway_request.h"
#include "cli/help_text.h"
#include "cli/output.h"
#include "cli/place.h"
#include "kernel/capabilities.h"
#include "kernel/features.h"
#include "kernel/instance.h"
#include "net/socket.h"

namespace shunt::cli {
namespace {

constexpr std::string_view kSubjects[] = {"gateway"};

constexpr Example kExamples[] = {
    {"shunt plan gateway -i br-lan --host", "the rules, routes and sysctls of that gateway"},
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
Result<int> plan_gateway_command(const Options& options) {
  const auto request = SHUNT_TRY(gateway_request(options));
  const bool privileged = has_capability(CAP_NET_ADMIN);
  const bool ipv6 = kernel_has_ipv6();
  auto decision = expected_method(request.capture.method);
  if (privileged) {
    decision = SHUNT_TRY(decide_method(request.capture.method, probe_features(), ipv6));
  }
  const auto allotment = SHUNT_TRY(Instance::preview());
  const auto plan =
      plan_gateway(request.capture, decision.method, allotment, SHUNT_TRY(free_port()), ipv6);
  std::string text = fmt::format("# captures {}\n", request.captured_text());
  if (!decision.why_not_tproxy.empty()) {
    text += fmt::format("# by REDIRECT, since TPROXY does not work here: {}\n",
                        decision.why_not_tproxy);
  }
  if (!privileged) {
    text +=
        "# without CAP_NET_ADMIN nothing could be tried: the method, the marks and the names "
        "may differ\n";
  }
  text += fmt::format("# port {}: the listeners'; free now, chosen again at the start\n",
                      plan.spec.port);
  SHUNT_CHECK(print(text + plan.text()));
  return 0;
}

Error no_such_plan(const std::vector<std::string>& words) {
  Error error = make_error(Kind::usage, error_number::kUnexpectedWord,
                           fmt::format("there is no plan of \"{}\"", words.front()),
                           "shunt plan gateway [the gateway's options]");
  const std::vector<std::string_view> arguments(words.begin(), words.end());
  error.place = point_at(kPlanCommand.name, arguments,
                         {.argument = 0, .first = 0, .length = words.front().size()},
                         did_you_mean(closest_word(words.front(), kSubjects)));
  return error;
}

Result<int> run_plan(const Options& options) {
  const std::vector<std::string>& words = options.words();
  if (words.front() != kGatewayCommand.name) {
    return Failure(no_such_plan(words));
  }
  const std::vector<std::string_view> arguments(words.begin() + 1, words.end());
  const Options gateway = SHUNT_TRY(parse(kGatewayCommand, arguments));
  if (!gateway.wants_help()) return plan_gateway_command(gateway);
  SHUNT_CHECK(print(command_help(kGatewayCommand)));
  return 0;
}

}  // namespace

constinit const Command kPlanCommand = {
    .name = "plan",
    .summary = "show what a gateway would change, and change nothing",
    .usage = "gateway [the gateway's options]",
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
