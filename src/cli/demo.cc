// SPDX-License-Identifier: GPL-2.0-only
// The demo tells a story in chapters; each chapter starts shunt in one way, lets real clients talk
// through it, shows what shunt said of them, and checks that it was so.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "base/terminal.h"
#include "cli/commands.h"
#include "cli/demo_lab.h"
#include "cli/demo_servers.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/run_method.h"

namespace shunt::cli {
namespace {

constexpr int kReadyMs = 10'000;
constexpr int kCommandMs = 15'000;
constexpr int kLogMs = 3'000;

/// One line of the table at the end.
struct Check {
  std::string what;
  bool worked;
  std::string detail;
};

/// A client's command and what proves that it went through shunt.
struct Scene {
  std::string what;
  Arguments command;
  std::string expect_output;  ///< in what the client printed
  std::string expect_log;     ///< in what shunt logged
  bool expect_failure = false;
  bool logged_at_end = false;  ///< a session of DNS lasts 10 s; the demo does not wait for that
};

class Story {
 public:
  Story(DemoLab& lab, DemoServers& servers)
      : lab_(lab), servers_(servers), colour_(wants_colour(STDOUT_FILENO)) {}

  Result<int> tell() {
    introduce();
    if (tun_) SHUNT_CHECK(gateway_chapter("tproxy"));
    SHUNT_CHECK(own_traffic_chapter());
    SHUNT_CHECK(death_chapter());
    SHUNT_CHECK(gateway_chapter("redirect"));
    SHUNT_CHECK(run_chapter());
    SHUNT_CHECK(ebpf_chapter());
    return summary();
  }

 private:
  void say(std::string_view line) { (void)print(fmt::format("{}\n", line)); }

  void introduce() {
    say("shunt demo: three hosts, made of network namespaces; nothing outside them is touched\n");
    say("  client 192.168.77.2 ──── gateway ──── server 198.51.100.2");
    say("         fd00:77::2                            2001:db8:100::2");
    say(fmt::format("\nOn the server: {}.", servers_.description));
  }

  void chapter(std::string_view title) {
    say(fmt::format("\n{}── {} ──{}", colour_ ? "\033[1m" : "", title, colour_ ? "\033[0m" : ""));
  }

  void check(std::string what, bool worked, std::string detail = {}) {
    say(fmt::format("  {} {}{}", worked ? "✓" : "✗ FAILED:", what,
                    worked || detail.empty() ? "" : " (" + detail + ")"));
    checks_.push_back({.what = std::move(what), .worked = worked, .detail = std::move(detail)});
  }

  void quote(std::string_view prefix, std::string_view text) {
    while (!text.empty()) {
      const auto end = std::min(text.find('\n'), text.size());
      if (end > 0) say(fmt::format("    {}{}", prefix, text.substr(0, end)));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  static std::string spoken(const Arguments& command) {
    std::string line;
    for (const std::string& word : command) line += (line.empty() ? "" : " ") + word;
    return line;
  }

  Result<DemoProcess> start_gateway(const Arguments& options) {
    Arguments command = {"/proc/self/exe", "gateway"};
    command.insert(command.end(), options.begin(), options.end());
    Arguments shown = command;
    shown[0] = "shunt";
    say(fmt::format("  gateway$ {}", spoken(shown)));
    auto gateway = SHUNT_TRY(lab_.gateway.start(command));
    if (!gateway.wait_for("shunt: ready:", kReadyMs)) {
      return Failure(
          make_error(Kind::runtime, "shunt gateway did not become ready: " + gateway.take()));
    }
    quote("│ ", gateway.take());
    return gateway;
  }

  /// Plays one scene on `host` and shows what the gateway logged of it.
  Result<void> play(DemoHost& host, DemoProcess& gateway, const Scene& scene) {
    say(fmt::format("  {}$ {}", host.name(), spoken(scene.command)));
    const auto done = SHUNT_TRY(host.run(scene.command, kCommandMs));
    quote("", done.output);
    const bool answered = (done.code != 0) == scene.expect_failure &&
                          done.output.find(scene.expect_output) != std::string::npos;
    if (answered && scene.logged_at_end) {
      to_be_logged_.push_back(scene);
      return {};
    }
    const bool logged = gateway.wait_for(scene.expect_log, kLogMs);
    quote("│ ", gateway.take());
    if (answered) {
      check_logged(scene, logged);
    } else {
      check(scene.what, false, fmt::format("exit code {}", done.code));
    }
    return {};
  }

  void check_logged(const Scene& scene, bool logged) {
    check(scene.what, logged, fmt::format("not in the log: {}", scene.expect_log));
  }

  static Arguments curl(std::string url, Arguments more = {}) {
    Arguments command = {"curl", "-sS", "--max-time", "5"};
    command.insert(command.end(), more.begin(), more.end());
    command.push_back(std::move(url));
    return command;
  }
  static std::string url(std::string_view scheme, std::string_view host, std::string_view path) {
    const bool v6 = host.find(':') != std::string_view::npos;
    return fmt::format("{}://{}{}{}{}", scheme, v6 ? "[" : "", host, v6 ? "]" : "", path);
  }

  /// What the server says to who comes from there.
  static std::string you_are(std::string_view address) {
    return fmt::format("you are {}", address);
  }

  std::vector<Scene> forwarded_scenes(const std::string& method, bool udp) const {
    std::vector<Scene> scenes = {
        {method + ": HTTP over IPv4", curl(url("http", DemoLab::kServer4, "/")),
         you_are(DemoLab::kGateway4), "200 OK"},
        {method + ": HTTP over IPv6", curl(url("http", DemoLab::kServer6, "/")),
         you_are(DemoLab::kGateway6), "200 OK"},
    };
    if (servers_.tls) {
      scenes.push_back(
          {method + ": TLS, named by its SNI",
           curl(url("https", DemoLab::kName, "/"),
                {"-k", "--resolve", fmt::format("{}:443:{}", DemoLab::kName, DemoLab::kServer4)}),
           you_are(DemoLab::kGateway4), std::string(DemoLab::kName)});
    }
    if (udp && servers_.dns) {
      scenes.push_back({method + ": DNS over UDP",
                        {"dig", "+short", "+time=3", "+tries=1",
                         fmt::format("@{}", DemoLab::kServer4), std::string(DemoLab::kName)},
                        std::string(DemoLab::kServer4),
                        fmt::format("{}:53", DemoLab::kServer4)});
      scenes.back().logged_at_end = true;
    }
    return scenes;
  }

  Result<void> gateway_chapter(const std::string& method) {
    const bool tproxy = method == "tproxy";
    chapter(tproxy ? "A LAN through this box, by TPROXY"
                   : "A LAN through this box, by REDIRECT (TCP only)");
    auto gateway = SHUNT_TRY(start_gateway({"-i", "lan0", "--method", method}));
    for (const Scene& scene : forwarded_scenes(tproxy ? "TPROXY" : "REDIRECT", tproxy)) {
      SHUNT_CHECK(play(lab_.client, gateway, scene));
    }
    if (tproxy) {
      SHUNT_CHECK(play(lab_.client, gateway,
                       {.what = "a refused upstream: the client is told so, and it is logged",
                        .command = curl(fmt::format("http://{}:81/", DemoLab::kServer4)),
                        .expect_output = {},
                        .expect_log = "refused",
                        .expect_failure = true}));
    }
    end_in_order(gateway, tproxy ? "TPROXY" : "REDIRECT");
    return {};
  }

  Result<void> own_traffic_chapter() {
    chapter("This machine's own traffic");
    auto gateway = SHUNT_TRY(start_gateway({"--host"}));
    SHUNT_CHECK(play(lab_.gateway, gateway,
                     {"own traffic over IPv4", curl(url("http", DemoLab::kServer4, "/moved")), "",
                      "301 Moved Permanently"}));
    SHUNT_CHECK(play(
        lab_.gateway, gateway,
        {"own traffic over IPv6", curl(url("http", DemoLab::kServer6, "/")), "you are", "200 OK"}));
    end_in_order(gateway, "own traffic");
    return {};
  }

  /// Everything that a capture puts into the kernel, as one text.
  std::string kernel_state() {
    std::string state;
    const Arguments listings[] = {
        {"ip", "rule"},
        {"ip", "-6", "rule"},
        {"ip", "-br", "link"},
        {"ip", "route", "show", "table", "all", "type", "local", "default"},
        {"nft", "list", "ruleset"},
        {"cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"}};
    for (const Arguments& listing : listings) {
      if (const auto done = lab_.gateway.run(listing, kCommandMs)) state += done->output;
    }
    return state;
  }

  void end_in_order(DemoProcess& gateway, const std::string& what) {
    const int code = gateway.end(SIGTERM);
    const std::string said = gateway.take();
    quote("│ ", said);
    for (const Scene& scene : std::exchange(to_be_logged_, {})) {
      check_logged(scene, said.find(scene.expect_log) != std::string::npos);
    }
    const std::string left = kernel_state();
    check(what + ": stopped, nothing left in the kernel", code == 0 && left == untouched_,
          code != 0 ? fmt::format("exit code {}", code) : "see nft list ruleset, ip rule");
  }

  Result<void> death_chapter() {
    chapter("kill -9");
    auto gateway = SHUNT_TRY(start_gateway({"-i", "lan0"}));
    gateway.end(SIGKILL);
    say("  gateway$ kill -9 shunt");
    const auto tables = SHUNT_TRY(lab_.gateway.run({"nft", "list", "ruleset"}, kCommandMs));
    check("killed: its tables are gone", tables.code == 0 && tables.output.empty());
    const auto direct =
        SHUNT_TRY(lab_.client.run(curl(url("http", DemoLab::kServer4, "/")), kCommandMs));
    quote("", direct.output);
    check("killed: the client goes on directly",
          direct.output.find("you are 192.168.77.2") != std::string::npos);
    const auto down = SHUNT_TRY(lab_.gateway.run({"/proc/self/exe", "down"}, kCommandMs));
    say("  gateway$ shunt down");
    quote("│ ", down.output);
    check("shunt down: as if it had never been here",
          down.code == 0 && kernel_state() == untouched_);
    return {};
  }

  /// By an ordinary user, or by another `method` as whoever runs the demo.
  Result<void> play_run(std::string what, const Arguments& command, std::string_view output,
                        std::string_view log, const std::string& method = {}) {
    Arguments full = {"shunt", "run", "-o"};
    if (!method.empty()) full.insert(full.end(), {"--method", method});
    full.insert(full.end(), command.begin(), command.end());
    say(fmt::format("  gateway$ {}", spoken(full)));
    full[0] = "/proc/self/exe";
    auto process =
        SHUNT_TRY(method.empty() ? lab_.gateway.start_as_user(full) : lab_.gateway.start(full));
    const int code = process.wait(kCommandMs);
    const std::string said = process.take();
    quote("", said);
    check(
        std::move(what),
        code == 0 && said.find(output) != std::string::npos && said.find(log) != std::string::npos,
        fmt::format("exit code {}", code));
    return {};
  }

  Result<void> run_chapter() {
    chapter("One command, by an ordinary user");
    SHUNT_CHECK(play_run("run without root: HTTP over IPv4",
                         curl(url("http", DemoLab::kServer4, "/")), you_are(DemoLab::kGateway4),
                         "200 OK"));
    SHUNT_CHECK(play_run("run without root: HTTP over IPv6",
                         curl(url("http", DemoLab::kServer6, "/")), you_are(DemoLab::kGateway6),
                         "200 OK"));
    if (servers_.dns) {
      SHUNT_CHECK(play_run("run without root: DNS over UDP",
                           {"dig", "+short", "+time=3", "+tries=1",
                            fmt::format("@{}", DemoLab::kServer4), std::string(DemoLab::kName)},
                           DemoLab::kServer4, ":53"));
    }
    return {};
  }

  Result<void> ebpf_chapter() {
    if (const auto possible = probe_run_method(RunMethod::ebpf); !possible) {
      no_ebpf_ = possible.error().text();
      return {};
    }
    chapter("One command in the host's own network, by eBPF on a cgroup of its own");
    SHUNT_CHECK(play_run("run by eBPF: HTTP over IPv4", curl(url("http", DemoLab::kServer4, "/")),
                         you_are(DemoLab::kGateway4), "200 OK", "ebpf"));
    return play_run("run by eBPF: HTTP over IPv6", curl(url("http", DemoLab::kServer6, "/")),
                    you_are(DemoLab::kGateway6), "200 OK", "ebpf");
  }

  Result<int> summary() {
    chapter("What worked");
    int failed = 0;
    for (const Check& check : checks_) {
      failed += check.worked ? 0 : 1;
      say(fmt::format("  {:<6} {}{}", check.worked ? "ok" : "FAILED", check.what,
                      check.worked || check.detail.empty() ? "" : ": " + check.detail));
    }
    if (!tun_) {
      say("  skipped: TPROXY (this user may not open /dev/net/tun, which holds its routes; root "
          "may: "
          "sudo shunt demo)");
    }
    if (!no_ebpf_.empty()) say(fmt::format("  skipped: run by eBPF ({})", no_ebpf_));
    if (!servers_.dns) say("  skipped: DNS over UDP (dnsmasq and dig are not both installed)");
    if (!servers_.tls) say("  skipped: TLS (nginx and openssl are not both installed)");
    say(fmt::format("\n{} of {} worked; the three hosts are gone when this command ends.",
                    checks_.size() - static_cast<std::size_t>(failed), checks_.size()));
    return failed == 0 ? 0 : 1;
  }

  DemoLab& lab_;
  DemoServers& servers_;
  bool colour_;
  bool tun_ = ::access("/dev/net/tun", R_OK | W_OK) == 0;
  std::string no_ebpf_;  ///< the reason
  std::vector<Scene> to_be_logged_;
  std::vector<Check> checks_;
  std::string untouched_ = kernel_state();
};

Result<int> run_demo(const Options& /*options*/) {
  auto lab = SHUNT_TRY(DemoLab::create());
  auto servers = SHUNT_TRY(start_demo_servers(lab));
  return Story(lab, servers).tell();
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
