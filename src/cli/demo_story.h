// SPDX-License-Identifier: GPL-2.0-only
// What the chapters of the demo are told with: each starts shunt in one way, lets real programs
// talk through it, shows what shunt said of them, and checks that it was so.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/demo_lab.h"
#include "cli/demo_servers.h"

namespace shunt::cli {

inline constexpr int kDemoCommandMs = 15'000;

/// A client's command and what proves that it went through shunt.
struct Scene {
  std::string what;
  Arguments command;
  std::string expect_output;  ///< in what the client printed
  std::string expect_log;     ///< in what shunt logged
  bool expect_failure = false;
  bool logged_at_end = false;  ///< a session of DNS lasts 10 s; the demo does not wait for that
};

enum class DemoUser : bool { root, ordinary };

class DemoStory {
 public:
  DemoStory(DemoLab& lab, DemoServers& servers);

  [[nodiscard]] DemoLab& lab() { return lab_; }
  [[nodiscard]] const DemoServers& servers() const { return servers_; }
  /// `shunt gateway` holds its routes by it; an ordinary user may have none.
  [[nodiscard]] bool has_tun() const { return tun_; }

  static void say(std::string_view line);
  void chapter(std::string_view title) const;
  /// Says it, and keeps it for the summary.
  void check(std::string what, bool worked, std::string detail = {});
  /// What could not be shown here.
  void skip(std::string_view what, std::string_view why);
  static void quote(std::string_view prefix, std::string_view text);

  /// Starts shunt on the gateway and waits until it is ready.
  Result<DemoProcess> start_shunt(const Arguments& words);
  /// Plays one scene on `host` and shows what `shunt` logged of it. `enter` stands before the
  /// command and is not shown.
  Result<void> play(DemoHost& host, DemoProcess& shunt, const Scene& scene,
                    const Arguments& enter = {});
  /// The same of a scene that was played otherwise: what it printed, and its exit code.
  void judge(DemoProcess& shunt, const Scene& scene, const DemoHost::Finished& done);
  /// Runs `shunt WORDS… COMMAND…` on the gateway to its end; both texts must be in what it says.
  Result<void> run_shunt(const Scene& scene, const Arguments& words, DemoUser user);
  /// Stops it, and looks whether the kernel is as it was before the first chapter.
  void end_in_order(DemoProcess& shunt, const std::string& what);
  /// Everything that a capture puts into the gateway's network is gone.
  [[nodiscard]] bool is_untouched();

  /// The table at the end; the exit code.
  Result<int> summary();

 private:
  struct Check {
    std::string what;
    bool worked;
    std::string detail;
  };

  void check_logged(const Scene& scene, bool logged);
  std::string kernel_state();

  DemoLab& lab_;
  DemoServers& servers_;
  bool colour_;
  bool tun_;
  std::vector<Scene> to_be_logged_;
  std::vector<Check> checks_;
  std::vector<std::string> skipped_;
  std::string untouched_;
};

/// "curl -sS --max-time 5 URL", with `more` before the URL.
Arguments demo_curl(std::string url, const Arguments& more = {});
/// "http://[2001:db8::1]/"
std::string demo_url(std::string_view scheme, std::string_view host, std::string_view path);
/// What the server says to who comes from there.
std::string demo_greeting(std::string_view address);
/// A query of DNS, and what is said of it.
Scene demo_dns_scene(std::string what);

}  // namespace shunt::cli
