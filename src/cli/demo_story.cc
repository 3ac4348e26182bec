// SPDX-License-Identifier: GPL-2.0-only
#include "cli/demo_story.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <utility>

#include "base/terminal.h"
#include "cli/output.h"

namespace shunt::cli {
namespace {

constexpr int kReadyMs = 10'000;
constexpr int kLogMs = 3'000;
constexpr const char* kThisProgram = "/proc/self/exe";

Arguments joined(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

Arguments demo_curl(std::string url, const Arguments& more) {
  Arguments command = joined({"curl", "-sS", "--max-time", "5"}, more);
  command.push_back(std::move(url));
  return command;
}

std::string demo_url(std::string_view scheme, std::string_view host, std::string_view path) {
  const bool v6 = host.find(':') != std::string_view::npos;
  return fmt::format("{}://{}{}{}{}", scheme, v6 ? "[" : "", host, v6 ? "]" : "", path);
}

std::string demo_greeting(std::string_view address) { return fmt::format("you are {}", address); }

Scene demo_dns_scene(std::string what) {
  return {.what = std::move(what),
          .command = {"dig", "+short", "+time=3", "+tries=1", fmt::format("@{}", DemoLab::kServer4),
                      std::string(DemoLab::kName)},
          .expect_output = std::string(DemoLab::kServer4),
          .expect_log = fmt::format("{}:53", DemoLab::kServer4)};
}

DemoStory::DemoStory(DemoLab& lab, DemoServers& servers)
    : lab_(lab),
      servers_(servers),
      colour_(wants_colour(STDOUT_FILENO)),
      tun_(::access("/dev/net/tun", R_OK | W_OK) == 0),
      untouched_(kernel_state()) {}

void DemoStory::say(std::string_view line) { (void)print(fmt::format("{}\n", line)); }

void DemoStory::chapter(std::string_view title) const {
  say(fmt::format("\n{}── {} ──{}", colour_ ? "\033[1m" : "", title, colour_ ? "\033[0m" : ""));
}

void DemoStory::check(std::string what, bool worked, std::string detail) {
  say(fmt::format("  {} {}{}", worked ? "✓" : "✗ FAILED:", what,
                  worked || detail.empty() ? "" : " (" + detail + ")"));
  checks_.push_back({.what = std::move(what), .worked = worked, .detail = std::move(detail)});
}

void DemoStory::skip(std::string_view what, std::string_view why) {
  skipped_.push_back(fmt::format("{} ({})", what, why));
}

void DemoStory::quote(std::string_view prefix, std::string_view text) {
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    if (end > 0) say(fmt::format("    {}{}", prefix, text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

Result<DemoProcess> DemoStory::start_shunt(const Arguments& words) {
  say(fmt::format("  gateway$ shunt {}", fmt::join(words, " ")));
  auto process = SHUNT_TRY(lab_.gateway.start(joined({kThisProgram}, words)));
  if (!process.wait_for("shunt: ready:", kReadyMs)) {
    return Failure(make_error(Kind::runtime, fmt::format("shunt {} did not become ready: {}",
                                                         words.front(), process.take())));
  }
  quote("│ ", process.take());
  return process;
}

Result<void> DemoStory::play(DemoHost& host, DemoProcess& shunt, const Scene& scene,
                             const Arguments& enter) {
  say(fmt::format("  {}$ {}", host.name(), fmt::join(scene.command, " ")));
  judge(shunt, scene, SHUNT_TRY(host.run(joined(enter, scene.command), kDemoCommandMs)));
  return {};
}

void DemoStory::judge(DemoProcess& shunt, const Scene& scene, const DemoHost::Finished& done) {
  quote("", done.output);
  const bool answered =
      (done.code != 0) == scene.expect_failure && contains(done.output, scene.expect_output);
  if (answered && scene.logged_at_end) {
    to_be_logged_.push_back(scene);
    return;
  }
  const bool logged = shunt.wait_for(scene.expect_log, kLogMs);
  quote("│ ", shunt.take());
  if (answered) {
    check_logged(scene, logged);
  } else {
    check(scene.what, false, fmt::format("exit code {}", done.code));
  }
}

void DemoStory::check_logged(const Scene& scene, bool logged) {
  check(scene.what, logged, fmt::format("not in the log: {}", scene.expect_log));
}

Result<void> DemoStory::run_shunt(const Scene& scene, const Arguments& words, DemoUser user) {
  const Arguments full = joined(words, scene.command);
  say(fmt::format("  gateway$ shunt {}", fmt::join(full, " ")));
  const Arguments command = joined({kThisProgram}, full);
  auto process = SHUNT_TRY(user == DemoUser::ordinary ? lab_.gateway.start_as_user(command)
                                                      : lab_.gateway.start(command));
  const int code = process.wait(kDemoCommandMs);
  const std::string said = process.take();
  quote("", said);
  check(scene.what,
        code == 0 && contains(said, scene.expect_output) && contains(said, scene.expect_log),
        fmt::format("exit code {}", code));
  return {};
}

std::string DemoStory::kernel_state() {
  std::string state;
  const Arguments listings[] = {
      {"ip", "rule"},
      {"ip", "-6", "rule"},
      {"ip", "-br", "link"},
      {"ip", "route", "show", "table", "all", "type", "local", "default"},
      {"nft", "list", "ruleset"},
      {"cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"}};
  for (const Arguments& listing : listings) {
    if (const auto done = lab_.gateway.run(listing, kDemoCommandMs)) state += done->output;
  }
  return state;
}

bool DemoStory::is_untouched() { return kernel_state() == untouched_; }

void DemoStory::end_in_order(DemoProcess& shunt, const std::string& what) {
  const int code = shunt.end(SIGTERM);
  const std::string said = shunt.take();
  quote("│ ", said);
  for (const Scene& scene : std::exchange(to_be_logged_, {})) {
    check_logged(scene, contains(said, scene.expect_log));
  }
  check(what + ": stopped, nothing left in the kernel", code == 0 && is_untouched(),
        code != 0 ? fmt::format("exit code {}", code) : "see nft list ruleset, ip rule");
}

Result<int> DemoStory::summary() {
  chapter("What worked");
  std::size_t failed = 0;
  for (const Check& check : checks_) {
    failed += check.worked ? 0 : 1;
    say(fmt::format("  {:<6} {}{}", check.worked ? "ok" : "FAILED", check.what,
                    check.worked || check.detail.empty() ? "" : ": " + check.detail));
  }
  for (const std::string& what : skipped_) say("  skipped: " + what);
  say(fmt::format("\n{} of {} worked; the three hosts are gone when this command ends.",
                  checks_.size() - failed, checks_.size()));
  return failed == 0 ? 0 : 1;
}

}  // namespace shunt::cli
