// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <csignal>
#include <string>
#include <vector>

#include "cli/demo_chapters.h"

namespace shunt::cli {
namespace {

std::vector<Scene> forwarded_scenes(const DemoServers& servers, const std::string& method,
                                    bool udp) {
  std::vector<Scene> scenes = {
      {method + ": HTTP over IPv4", demo_curl(demo_url("http", DemoLab::kServer4, "/")),
       demo_greeting(DemoLab::kGateway4), "200 OK"},
      {method + ": HTTP over IPv6", demo_curl(demo_url("http", DemoLab::kServer6, "/")),
       demo_greeting(DemoLab::kGateway6), "200 OK"},
  };
  if (servers.tls) {
    const std::string resolved = fmt::format("{}:443:{}", DemoLab::kName, DemoLab::kServer4);
    scenes.push_back(
        {method + ": TLS, named by its SNI",
         demo_curl(demo_url("https", DemoLab::kName, "/"), {"-k", "--resolve", resolved}),
         demo_greeting(DemoLab::kGateway4), std::string(DemoLab::kName)});
  }
  if (udp && servers.dns) {
    scenes.push_back(demo_dns_scene(method + ": DNS over UDP"));
    scenes.back().logged_at_end = true;
  }
  return scenes;
}

Result<void> tell_of_forwarding(DemoStory& story, const std::string& method) {
  const bool tproxy = method == "tproxy";
  const std::string name = tproxy ? "TPROXY" : "REDIRECT";
  story.chapter(tproxy ? "A LAN through this box, by TPROXY"
                       : "A LAN through this box, by REDIRECT (TCP only)");
  auto gateway = SHUNT_TRY(story.start_shunt({"gateway", "-i", "lan0", "--method", method}));
  for (const Scene& scene : forwarded_scenes(story.servers(), name, tproxy)) {
    SHUNT_CHECK(story.play(story.lab().client, gateway, scene));
  }
  if (tproxy) {
    SHUNT_CHECK(story.play(story.lab().client, gateway,
                           {.what = "a refused upstream: the client is told so, and it is logged",
                            .command = demo_curl(fmt::format("http://{}:81/", DemoLab::kServer4)),
                            .expect_output = {},
                            .expect_log = "refused",
                            .expect_failure = true}));
  }
  story.end_in_order(gateway, name);
  return {};
}

Result<void> tell_of_own_traffic(DemoStory& story) {
  story.chapter("This machine's own traffic");
  auto gateway = SHUNT_TRY(story.start_shunt({"gateway", "--host"}));
  SHUNT_CHECK(
      story.play(story.lab().gateway, gateway,
                 {"own traffic over IPv4", demo_curl(demo_url("http", DemoLab::kServer4, "/moved")),
                  "", "301 Moved Permanently"}));
  SHUNT_CHECK(
      story.play(story.lab().gateway, gateway,
                 {"own traffic over IPv6", demo_curl(demo_url("http", DemoLab::kServer6, "/")),
                  "you are", "200 OK"}));
  story.end_in_order(gateway, "own traffic");
  return {};
}

Result<void> tell_of_death(DemoStory& story) {
  story.chapter("kill -9");
  DemoLab& lab = story.lab();
  auto gateway = SHUNT_TRY(story.start_shunt({"gateway", "-i", "lan0"}));
  gateway.end(SIGKILL);
  DemoStory::say("  gateway$ kill -9 shunt");
  const auto tables = SHUNT_TRY(lab.gateway.run({"nft", "list", "ruleset"}, kDemoCommandMs));
  story.check("killed: its tables are gone", tables.code == 0 && tables.output.empty());
  const auto direct = SHUNT_TRY(
      lab.client.run(demo_curl(demo_url("http", DemoLab::kServer4, "/")), kDemoCommandMs));
  DemoStory::quote("", direct.output);
  story.check("killed: the client goes on directly",
              direct.output.find(demo_greeting("192.168.77.2")) != std::string::npos);
  const auto down = SHUNT_TRY(lab.gateway.run({"/proc/self/exe", "down"}, kDemoCommandMs));
  DemoStory::say("  gateway$ shunt down");
  DemoStory::quote("│ ", down.output);
  story.check("shunt down: as if it had never been here", down.code == 0 && story.is_untouched());
  return {};
}

}  // namespace

Result<void> tell_of_gateways(DemoStory& story) {
  if (story.has_tun()) {
    SHUNT_CHECK(tell_of_forwarding(story, "tproxy"));
  } else {
    story.skip("TPROXY",
               "this user may not open /dev/net/tun, which holds its routes; root may: "
               "sudo shunt demo");
  }
  SHUNT_CHECK(tell_of_own_traffic(story));
  SHUNT_CHECK(tell_of_death(story));
  return tell_of_forwarding(story, "redirect");
}

}  // namespace shunt::cli
