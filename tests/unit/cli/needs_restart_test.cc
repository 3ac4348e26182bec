// SPDX-License-Identifier: GPL-2.0-only
#include "cli/needs_restart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace shunt::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Config config(const std::string& text) {
  auto parsed = parse_config("shunt.toml", "version = 1\n" + text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *std::move(parsed) : Config{};
}

TEST(Reload, takes_rules_ways_out_exclusions_and_drain_timeout_while_shunt_runs) {
  const Config before = config("capture.lan = ['a']\n");
  const Config after = config(
      "capture.lan = ['a']\ncapture.exclude = ['port 22']\nlimits.drain-timeout = '1s'\n"
      "limits.connect-timeout = '1s'\nvia.b.interface = 'b'\nrules.match = ['-> b']\n");
  EXPECT_THAT(needs_restart(before, after), IsEmpty());
}

TEST(Reload, names_every_key_that_needs_a_restart) {
  const Config before = config("");
  struct Case {
    const char* text;
    const char* key;
  };
  for (const auto& [text, key] :
       {Case{"capture.lan = []", "capture.lan"}, Case{"capture.lan = ['a']", "capture.lan"},
        Case{"capture.host = true", "capture.host"},
        Case{"capture.method = 'redirect'", "capture.method"},
        Case{"capture.on-exit = 'closed'", "capture.on-exit"},
        Case{"capture.masquerade = true", "capture.masquerade"},
        Case{"limits.workers = 7", "limits.workers"},
        Case{"limits.sniff-wait = '1s'", "limits.sniff-wait"},
        Case{"udp.mapping = 'symmetric'", "udp"},
        Case{"udp.filtering = 'address-dependent'", "udp"}, Case{"udp.timeout = '1m'", "udp"},
        Case{"udp.answered-timeout = '1m'", "udp"}, Case{"udp.quic-timeout = '1m'", "udp"},
        Case{"udp.query-timeout = '1s'", "udp"}, Case{"udp.mapping-timeout = '1m'", "udp"},
        Case{"limits.idle-timeout = '1s'", "limits.idle-timeout"},
        Case{"dns.trusted = '192.0.2.53'", "dns.trusted"},
        Case{"log.format = 'json'", "log.format"}, Case{"log.to = 'x'", "log.to"}}) {
    EXPECT_THAT(needs_restart(before, config(text)), ElementsAre(key)) << text;
  }
}

TEST(Reload, does_not_begin_to_track_connections) {
  const Config before = config("capture.connect = 'early'\n");
  const Config after = config("capture.connect = 'early'\ncapture.notrack = true\n");
  EXPECT_THAT(needs_restart(before, after), ElementsAre("capture.notrack"));
}

TEST(Reload, takes_no_other_listeners) {
  const auto listening = [](const std::string& more) {
    return config("capture.lan = ['a']\nlisten.a.address = '192.0.2.1:80'\n" + more);
  };
  const Config before = listening("listen.a.to = '192.0.2.2:80'\n");
  EXPECT_THAT(needs_restart(before, listening("listen.a.to = '192.0.2.2:80'\n")), IsEmpty());
  for (const char* other :
       {"listen.a.to = '192.0.2.3:80'\n", "listen.a.accept-proxy = '10.0.0.0/8'\n",
        "listen.a.to = '192.0.2.2:80'\nlisten.a.protocol = 'both'\n",
        "listen.a.to = '192.0.2.2:80'\nlisten.b.address = '192.0.2.1:81'\n"}) {
    EXPECT_THAT(needs_restart(before, listening(other)), ElementsAre("listen")) << other;
  }
}

}  // namespace
}  // namespace shunt::cli
