// SPDX-License-Identifier: GPL-2.0-only
#include "cli/commands.h"
#include "cli/common_options.h"

namespace shunt::cli {
namespace {

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
    {"sudo shunt gateway --host --exclude 'to 192.168.0.0/16'",
     "this machine's own traffic too, but not what stays in the house"},
};

Result<int> run_gateway(const Options&) {
  return Failure(make_error(Kind::unsupported, "gateway is not built yet"));
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
