// SPDX-License-Identifier: GPL-2.0-only
// Single programs: those that shunt starts, those that run already, and those that take another
// way.
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "capture/routed_probe.h"
#include "cli/demo_chapters.h"
#include "cli/run_method.h"
#include "kernel/capture_program.h"
#include "kernel/cgroup.h"
#include "kernel/watch_program.h"
#include "net/unique_fd.h"

namespace shunt::cli {
namespace {

Scene http_scene(std::string what, std::string_view server, std::string_view seen_as) {
  return {.what = std::move(what),
          .command = demo_curl(demo_url("http", server, "/")),
          .expect_output = demo_greeting(seen_as),
          .expect_log = "200 OK"};
}

/// The others are for ordinary users; the library of preload may be where those cannot look.
DemoUser user_of(RunMethod method) {
  const bool root = method == RunMethod::ebpf || method == RunMethod::preload;
  return root ? DemoUser::root : DemoUser::ordinary;
}

Result<void> tell_of_method(DemoStory& story, const RunMethodRow& row) {
  const std::string method(word_of(row.method));
  if (const auto possible = row.probe(); !possible) {
    story.skip(fmt::format("run by {}", method), possible.error().text());
    return {};
  }
  story.chapter(fmt::format("One command, by {}: {}", method, row.summary));
  const Arguments words = {"run", "-o", "--method", method};
  const DemoUser user = user_of(row.method);
  const std::string what = fmt::format("run by {}: HTTP over ", method);
  SHUNT_CHECK(story.run_shunt(http_scene(what + "IPv4", DemoLab::kServer4, DemoLab::kGateway4),
                              words, user));
  return story.run_shunt(http_scene(what + "IPv6", DemoLab::kServer6, DemoLab::kGateway6), words,
                         user);
}

/// A program that waits for `go`, and then asks the server. It is in the cgroup from the start.
Result<DemoProcess> start_waiting(DemoStory& story, const std::string& cgroup,
                                  const std::string& go, const Arguments& then) {
  const std::string script = fmt::format(
      "echo $$ > {}/cgroup.procs && echo $$; while [ ! -e {} ]; do sleep 0.05; done; {}", cgroup,
      go, fmt::join(then, " "));
  return story.lab().gateway.start({"sh", "-c", script});
}

Result<void> tell_of_running_process(DemoStory& story, const std::string& cgroup) {
  const std::string go = fmt::format("{}/go", DemoLab::kScratch);
  const Scene scene =
      http_scene("watch pid: a process that ran before", DemoLab::kServer4, DemoLab::kGateway4);
  auto program = SHUNT_TRY(start_waiting(story, cgroup, go, scene.command));
  if (!program.wait_for("\n", kDemoCommandMs)) {
    return Failure(
        make_error(Kind::runtime, "the demo's program did not start: " + program.take()));
  }
  std::string pid = program.take();
  pid.resize(pid.find('\n'));
  DemoStory::say(
      fmt::format("  gateway$ (process {}: waits, then {})", pid, fmt::join(scene.command, " ")));
  auto watch = SHUNT_TRY(story.start_shunt({"watch", "--cgroup-root", cgroup, "pid:" + pid}));
  const UniqueFd signal(::open(go.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  DemoHost::Finished done;
  done.code = program.wait(kDemoCommandMs);
  done.output = program.take();
  story.judge(watch, scene, done);
  story.end_in_order(watch, "watch pid");
  return {};
}

Result<void> tell_of_names(DemoStory& story, const std::string& cgroup) {
  const Arguments inside = {"sh", "-c", "echo $$ > \"$0\"/cgroup.procs && exec \"$@\"", cgroup};
  auto watch = SHUNT_TRY(story.start_shunt({"watch", "--cgroup-root", cgroup, "name:curl"}));
  SHUNT_CHECK(story.play(
      story.lab().gateway, watch,
      http_scene("watch name: a program whenever it starts", DemoLab::kServer6, DemoLab::kGateway6),
      inside));
  story.end_in_order(watch, "watch name");
  return {};
}

}  // namespace

Result<void> tell_of_run(DemoStory& story) {
  story.chapter("One command, by an ordinary user");
  const std::string what = "run without root: ";
  SHUNT_CHECK(
      story.run_shunt(http_scene(what + "HTTP over IPv4", DemoLab::kServer4, DemoLab::kGateway4),
                      {"run", "-o"}, DemoUser::ordinary));
  SHUNT_CHECK(
      story.run_shunt(http_scene(what + "HTTP over IPv6", DemoLab::kServer6, DemoLab::kGateway6),
                      {"run", "-o"}, DemoUser::ordinary));
  if (story.servers().dns) {
    SHUNT_CHECK(
        story.run_shunt(demo_dns_scene(what + "DNS over UDP"), {"run", "-o"}, DemoUser::ordinary));
  }
  for (const RunMethodRow& row : run_methods()) {
    if (row.probe == nullptr || row.method == RunMethod::network_namespace) continue;
    SHUNT_CHECK(tell_of_method(story, row));
  }
  return {};
}

Result<void> tell_of_watch(DemoStory& story) {
  auto possible = CaptureProgram::probe();
  if (possible) possible = WatchProgram::probe();
  auto parent = cgroup_directory();
  if (possible && !parent) possible = Failure(std::move(parent).error());
  std::optional<Cgroup> cgroup;
  if (possible) {
    auto made = Cgroup::create(*parent, "demo");
    if (!made) possible = Failure(std::move(made).error());
    if (made) cgroup = std::move(*made);
  }
  if (!possible) {
    story.skip("watch", possible.error().text());
    return {};
  }
  story.chapter("Programs that run already, by eBPF (here only below a cgroup of the demo's)");
  SHUNT_CHECK(tell_of_running_process(story, cgroup->directory()));
  return tell_of_names(story, cgroup->directory());
}

Result<void> tell_of_route(DemoStory& story) {
  if (const auto possible = probe_routed_sockets(); !possible) {
    story.skip("route", possible.error().text());
    return {};
  }
  story.chapter("One command by another way out, with no proxy in between");
  const auto scene = [](std::string what, std::string_view server, std::string_view seen_as) {
    Scene made = http_scene(std::move(what), server, seen_as);
    made.expect_log.clear();  // shunt sees nothing of it
    return made;
  };
  SHUNT_CHECK(story.run_shunt(
      scene("route by an interface, without root: IPv4", DemoLab::kServer4, DemoLab::kSecond4),
      {"route", "-i", "wan1"}, DemoUser::ordinary));
  SHUNT_CHECK(story.run_shunt(
      scene("route by an interface, without root: IPv6", DemoLab::kServer6, DemoLab::kSecond6),
      {"route", "-i", "wan1"}, DemoUser::ordinary));
  const Arguments by_gateway = {"route", "--gateway", std::string(DemoLab::kSecondServer4)};
  SHUNT_CHECK(
      story.run_shunt(scene("route by another router", DemoLab::kServer4, DemoLab::kSecond4),
                      by_gateway, DemoUser::root));
  story.check("route: nothing left in the kernel", story.is_untouched());
  return {};
}

}  // namespace shunt::cli
