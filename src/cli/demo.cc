// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/demo_chapters.h"
#include "cli/demo_lab.h"
#include "cli/demo_servers.h"
#include "cli/demo_story.h"

namespace shunt::cli {
namespace {

void introduce(const DemoServers& servers) {
  DemoStory::say(
      "shunt demo: three hosts, made of network namespaces; nothing outside them is touched\n\n"
      "  client 192.168.77.2 ──── gateway ──── server 198.51.100.2\n"
      "         fd00:77::2           │                2001:db8:100::2\n"
      "                              └─ wan1 ── server 203.0.113.2, 2001:db8:200::2\n");
  DemoStory::say(fmt::format("On the server: {}.", servers.description));
}

Result<int> run_demo(const Options& /*options*/) {
  auto lab = SHUNT_TRY(DemoLab::create());
  auto servers = SHUNT_TRY(start_demo_servers(lab));
  introduce(servers);
  DemoStory story(lab, servers);
  SHUNT_CHECK(tell_of_gateways(story));
  SHUNT_CHECK(tell_of_run(story));
  SHUNT_CHECK(tell_of_watch(story));
  SHUNT_CHECK(tell_of_route(story));
  if (!servers.dns) story.skip("DNS over UDP", "dnsmasq and dig are not both installed");
  if (!servers.tls) story.skip("TLS", "nginx and openssl are not both installed");
  return story.summary();
}

}  // namespace

constinit const Command kDemoCommand = {
    .name = "demo",
    .summary = "show everything at once, inside private network namespaces",
    .usage = "",
    .description =
        "Builds a small network of namespaces with real servers and clients, carries their traffic "
        "in every way that shunt knows, says what worked, and removes everything. Needs root or "
        "unprivileged user namespaces; the exit code is 0 when all worked.",
    .run = run_demo,
};

}  // namespace shunt::cli
