// SPDX-License-Identifier: GPL-2.0-only
#include <limits>

#include "cli/commands.h"
#include "cli/route_keeper.h"
#include "cli/run_beside.h"

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
     .help = "it asks this name server, by an /etc/resolv.conf that only it sees",
     .repeatable = true},
};

constexpr Example kExamples[] = {
    {"shunt route -i wlan0 curl https://example.org/", "out by another interface"},
    {"sudo shunt route --gateway 192.0.2.1 ping -c 3 198.51.100.7", "by another router"},
    {"sudo shunt route --table 100 --dns 192.0.2.53 ./fetch-all",
     "by a routing table of yours, and its names by another server"},
};

Result<int> run_route(const Options& options) {
  return run_beside(options, keep_route,
                    [&](const RunDoor& door) { return enter_route(options, door); });
}

}  // namespace

constinit const Command kRouteCommand = {
    .name = "route",
    .summary = "send one command out another way, with no proxy in between",
    .usage = "[options] [--] CMD [ARG…]",
    .description =
        "Runs CMD so that the sockets of it and its children leave by another interface, router, "
        "routing table or source address, or with a mark, or so that it asks another name server. "
        "shunt makes the sockets and has no part in what goes through them. Everything is undone "
        "when the last process of CMD has ended. Exits with the command's code.\n\n"
        "Interface, source address and name server need no privilege; gateway, table and mark "
        "need CAP_NET_ADMIN.",
    .options = kOptions,
    .examples = kExamples,
    .minimum_words = 1,
    .maximum_words = std::numeric_limits<unsigned>::max(),
    .missing_word = "the command to run",
    .options_end_at_first_word = true,
    .failure_code = 125,
    .run = run_route,
};

}  // namespace shunt::cli
