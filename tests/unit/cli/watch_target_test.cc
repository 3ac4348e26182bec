// SPDX-License-Identifier: GPL-2.0-only
#include "cli/watch_target.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error_numbers.h"

namespace shunt::cli {
namespace {

using By = WatchTarget::By;

TEST(WatchTarget, each_word_is_understood) {
  EXPECT_EQ(parse_watch_target("pid:4711")->number, 4711U);
  EXPECT_EQ(parse_watch_target("name:curl")->text, "curl");
  EXPECT_EQ(parse_watch_target("name:a-name-of-more-than-fifteen")->text, "a-name-of-more-");
  EXPECT_EQ(parse_watch_target("unit:nginx")->text, "nginx.service");
  EXPECT_EQ(parse_watch_target("unit:app.scope")->text, "app.scope");
  EXPECT_EQ(parse_watch_target("cgroup:/a/b")->text, "/a/b");
  EXPECT_EQ(parse_watch_target("host")->by, By::host);
  EXPECT_EQ(parse_watch_target("container:web")->by, By::container);
  EXPECT_EQ(parse_watch_target("netns:/run/netns/x")->text, "/run/netns/x");
  const auto user = parse_watch_target("uid:1000");
  ASSERT_TRUE(user);
  ASSERT_EQ(user->ids.size(), 1U);
  EXPECT_EQ(user->ids[0].low, 1000U);
  EXPECT_EQ(parse_watch_target("uid:root")->ids[0].low, 0U);
  EXPECT_EQ(parse_watch_target("gid:root")->ids[0].high, 0U);
}

TEST(WatchTarget, class_is_a_number_of_net_cls) {
  const auto target = parse_watch_target("classid:1:10");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->by, By::classid);
  EXPECT_EQ(target->number, 0x10010U);
  EXPECT_EQ(text_of(*target), "classid:1:10");
}

TEST(WatchTarget, ports_are_for_routes_alone) {
  EXPECT_FALSE(parse_watch_target("port:443"));
  const auto target = parse_watch_target("port:80,8000-8100", TargetsOf::route);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->by, By::port);
  EXPECT_EQ(target->text, "80,8000-8100");
  for (const std::string_view word :
       {"port:", "port:x", "port:70000", "port:443 uid 0", "port:9-1"}) {
    EXPECT_FALSE(parse_watch_target(word, TargetsOf::route)) << word;
  }
}

TEST(WatchTarget, is_told_from_a_command_by_its_form) {
  for (const std::string_view word : {"pid:1", "pid:", "!name:x", "port:443", "classid:1:10"}) {
    EXPECT_TRUE(looks_like_target(word)) << word;
  }
  for (const std::string_view word : {"host", "curl", "./pid:1", "a:b", "", "!", "pid"}) {
    EXPECT_FALSE(looks_like_target(word)) << word;
  }
}

TEST(WatchTarget, exclusion_stands_in_front) {
  const auto target = parse_watch_target("!name:wget");
  ASSERT_TRUE(target);
  EXPECT_TRUE(target->excluded);
  EXPECT_EQ(target->text, "wget");
  EXPECT_EQ(text_of(*target), "!name:wget");
}

TEST(WatchTarget, mistakes_are_pointed_at) {
  for (const std::string_view word : {"",
                                      "curl",
                                      "pid:",
                                      "pid:x",
                                      "pid:0",
                                      "pid:1x",
                                      "pid:99999999999",
                                      "uid:nobody-has-this",
                                      "uid:4294967296",
                                      "gid:99999999999",
                                      "unit:a/b",
                                      "cgroup:relative",
                                      "host:x",
                                      "!host",
                                      "process:1",
                                      "!",
                                      "container:",
                                      "netns:x",
                                      "!netns:/x",
                                      "classid:x",
                                      "classid:0"}) {
    const auto target = parse_watch_target(word);
    ASSERT_FALSE(target) << word;
    EXPECT_EQ(target.error().number, error_number::kBadTarget) << word;
    EXPECT_EQ(target.error().kind, Kind::usage) << word;
    EXPECT_FALSE(target.error().place.empty()) << word;
  }
}

TEST(WatchTarget, somebody_must_be_left) {
  EXPECT_FALSE(parse_watch_targets({"!uid:0", "!name:x"}));
  EXPECT_TRUE(parse_watch_targets({"!uid:0", "host"}));
}

TEST(WatchTarget, means_processes_by_what_is_known_of_them) {
  const ProcessFact process{.state = FactState::known,
                            .name = "nginx",
                            .uid = 33,
                            .gid = 34,
                            .cgroup = "/system.slice/nginx.service/worker"};
  const auto meant = [&](std::string_view word) {
    return means(parse_watch_target(word).value(), 7, process);
  };
  for (const char* word : {"pid:7", "name:nginx", "unit:nginx", "cgroup:/system.slice",
                           "cgroup:/system.slice/nginx.service", "uid:33", "gid:34", "host"}) {
    EXPECT_TRUE(meant(word)) << word;
  }
  for (const char* word : {"pid:8", "name:ngin", "unit:ngin", "cgroup:/system",
                           "cgroup:/user.slice", "uid:34", "gid:33"}) {
    EXPECT_FALSE(meant(word)) << word;
  }
}

}  // namespace
}  // namespace shunt::cli
