// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <limits>
#include <string_view>

#include "base/error_numbers.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/route_keeper.h"
#include "cli/route_mechanism.h"
#include "cli/route_targets.h"
#include "cli/run_beside.h"
#include "cli/target_options.h"

namespace shunt::cli {
namespace {

constexpr Option kOptions[] = {
    {.name = "interface",
     .short_name = 'i',
     .type = ValueType::interface,
     .value = "IFACE",
     .help = "its sockets are bound to this interface (SO_BINDTODEVICE); no root needed"},
    {.name = "gateway",
     .type = ValueType::text,
     .value = "ADDRESS",
     .help = "the next router, by a routing table of its own; once for IPv4 and once for IPv6, and "
             "a family without one is unreachable",
     .repeatable = true},
    {.name = "table",
     .type = ValueType::text,
     .value = "N",
     .help = "it is routed by this table of yours alone"},
    {.name = "mark",
     .type = ValueType::text,
     .value = "N",
     .help = "its packets bear this mark (SO_MARK), for rules of your own"},
    {.name = "source",
     .type = ValueType::text,
     .value = "ADDRESS",
     .help = "it sends from this address of the machine; a family without one is refused",
     .repeatable = true},
    {.name = "dns",
     .type = ValueType::text,
     .value = "ADDRESS",
     .help = "it asks this name server, by an /etc/resolv.conf that only it sees; of a command",
     .repeatable = true},
    {.name = "method",
     .type = ValueType::choice,
     .value = "METHOD",
     .help = "how targets are routed: their sockets when they are made (ebpf), or what leaves "
             "(nftables); without it, the first that works and can tell the targets",
     .fallback = "auto",
     .choices = kRouteMethods},
    kMoveOption,
    kCgroupRootOption,
};

constexpr Example kExamples[] = {
    {"shunt route -i wlan0 curl https://example.org/", "out by another interface"},
    {"sudo shunt route --gateway 192.0.2.1 ping -c 3 198.51.100.7", "by another router"},
    {"sudo shunt route --table 100 --dns 192.0.2.53 ./fetch-all",
     "by a routing table of yours, and its names by another server"},
    {"sudo shunt route -i wg0 unit:transmission", "a service that runs already, until this ends"},
};

Result<void> check_command_options(const Options& options) {
  for (const std::string_view option : {"method", "move", "cgroup-root"}) {
    if (!options.has(option)) continue;
    return Failure(make_error(Kind::usage, error_number::kOptionConflict,
                              fmt::format("--{} is for targets, and \"{}\" is a command", option,
                                          options.words().front()),
                              "leave it out; targets are pid:N, unit:NAME, uid:USER, …"));
  }
  return {};
}

Result<int> run_route(const Options& options) {
  if (names_targets(options)) {
    // Its codes are those of other commands: there is none whose code it could be taken for.
    const auto code = route_targets(options);
    return code ? *code : report(code.error());
  }
  SHUNT_CHECK(check_command_options(options));
  return run_beside(options, keep_route,
                    [&](const RunDoor& door) { return enter_route(options, door); });
}

}  // namespace

constinit const Command kRouteCommand = {
    .name = "route",
    .summary = "send one program out another way, with no proxy in between",
    .usage = "[options] [--] CMD [ARG…] | TARGET…",
    .description =
        "Runs CMD so that the sockets of it and its children leave by another interface, router, "
        "routing table or source address, or with a mark, or so that it asks another name server. "
        "shunt makes the sockets and has no part in what goes through them. Everything is undone "
        "when the last process of CMD has ended. Exits with the command's code.\n\n"
        "TARGETs run already, or will: pid:N (with its children), name:NAME, unit:NAME, "
        "cgroup:/PATH, classid:N (of net_cls), uid:USER, gid:GROUP, container:NAME, netns:/PATH, "
        "port:N[,N-N]; with ! in front, who is left alone. What they connect to from now on takes "
        "the other way, until this is interrupted. They need CAP_NET_ADMIN, and CAP_BPF for all "
        "but users, groups, cgroups, classes and ports.\n\n"
        "Interface, source address and name server need no privilege; gateway, table and mark "
        "need CAP_NET_ADMIN.",
    .options = kOptions,
    .examples = kExamples,
    .minimum_words = 1,
    .maximum_words = std::numeric_limits<unsigned>::max(),
    .missing_word = "the command to run, or a target",
    .options_end_at_first_word = true,
    .failure_code = 125,
    .run = run_route,
};

}  // namespace shunt::cli
