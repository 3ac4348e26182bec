// SPDX-License-Identifier: GPL-2.0-only
#include "cli/proxy_setup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/error_numbers.h"
#include "base/log.h"
#include "base/terminal.h"
#include "cli/options.h"
#include "cli/place.h"
#include "cli/rule_options.h"
#include "egress/direct.h"
#include "egress/race.h"
#include "egress/way_out_url.h"

namespace shunt::cli {
namespace {

constexpr rlim_t kManyDescriptors = 65'536;  // a limit from which one table is enough for all

/// The null device: what nobody will ever read need not be made.
bool leads_nowhere(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) &&
         status.st_rdev == ::makedev(1, 3);  // Documentation/admin-guide/devices.txt
}

Result<UniqueFd> open_file(const std::string& path) {
  // Not truncated and not blocking: a FIFO without a reader is an error rather than a hang.
  UniqueFd fd(::open(path.c_str(),
                     O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640));
  if (!fd.valid()) {
    Error error = errno_error(fmt::format("opening the log file {}", path));
    error.number = error_number::kLogFile;
    return Failure(std::move(error));
  }
  // The log's thread waits for a slow reader by itself.
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK);
  return fd;
}

Result<std::vector<Address>> resolvers_of(const Options& options) {
  std::vector<Address> resolvers;
  for (const std::string& text : options.values("trust-dns")) {
    const auto address = Address::parse(text);
    if (!address) {
      Error error = make_error(Kind::usage, error_number::kBadValue,
                               fmt::format("--trust-dns: \"{}\" is no IP address", text));
      error.place = point_at_value(options.command().name, "trust-dns", text);
      return Failure(std::move(error));
    }
    resolvers.push_back(*address);
  }
  return resolvers;
}

}  // namespace

rlimit raise_descriptor_limit() {
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit raised{.rlim_cur = before.rlim_max, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &raised);
  return before;
}

unsigned worker_count(std::uint32_t requested) {
  if (requested != 0) return requested;
  cpu_set_t processors;
  CPU_ZERO(&processors);
  if (::sched_getaffinity(0, sizeof processors, &processors) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&processors)));
}

bool parts_descriptor_tables(std::uint32_t requested) {
  rlimit limit{};
  if (requested < 2 || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  if (limit.rlim_max >= kManyDescriptors) return false;
  log(LogLevel::info,
      fmt::format("each worker holds up to {} descriptors, which ss -p and lsof do not show",
                  limit.rlim_max));
  return true;
}

ProxyOptions TrafficSetup::proxy_options(const Options& options) const {
  ProxyOptions proxy;
  proxy.policy = policy;
  proxy.loop_guard = loop_guard;
  proxy.log = log.get();
  proxy.observe_content = log != nullptr;
  proxy.sniff_wait_ms = options.duration_ms("sniff-wait");
  for (const std::string& port : options.values("server-first")) {
    proxy.server_first_ports.push_back(static_cast<std::uint16_t>(std::stoul(port)));
  }
  proxy.trusted_resolvers = trusted_resolvers;
  proxy.udp = {.mapping = nat_mapping(options.value("udp-mapping")),
               .filtering = nat_filtering(options.value("udp-filtering"))};
  proxy.idle_timeout_ms = options.duration_ms("idle-timeout");
  proxy.other_descriptors = race_descriptors(way_out->proxies().size());
  return proxy;
}

Result<void> TrafficSetup::open_log_file(const std::string& path) {
  if (!path.empty()) log_file = SHUNT_TRY(open_file(path));
  return {};
}

// The log's thread goes on writing to the same descriptor: a write(2) that is under way ends in the
// file that it began in, the next one goes to the new file. It writes whole lines at once, and a
// part of them only where a disk is full or a reader of a FIFO slow, which then is the same FIFO.
Result<void> TrafficSetup::reopen_log_file(const std::string& path) const {
  if (path.empty() || !log_file.valid()) return {};
  const UniqueFd fresh = SHUNT_TRY(open_file(path));
  if (::dup3(fresh.get(), log_file.get(), O_CLOEXEC) < 0) {
    return Failure(errno_error(fmt::format("using the log file {}", path)));
  }
  return {};
}

void TrafficSetup::start_log(bool json, int fd, ProcessNames* names) {
  if (log_file.valid()) fd = log_file.get();
  if (fd < 0 || leads_nowhere(fd)) return;
  const TrafficLogOptions options{.fd = fd, .colour = wants_colour(fd), .names = names};
  log = json ? make_json_log(options) : make_console_log(options);
}

Result<TrafficSetup> set_up_traffic(const Options& options, std::shared_ptr<const Ruleset> rules,
                                    std::uint32_t egress_mark) {
  TrafficSetup setup;
  setup.loop_guard = std::make_shared<LoopGuard>();
  const WayOutChoice choice{.url = options.value("via"),
                            .password_file = options.value("via-password-file")};
  const UpstreamOptions upstream{.mark = egress_mark,
                                 .observer = setup.loop_guard.get(),
                                 .connect_timeout_ms = options.duration_ms("connect-timeout")};
  setup.trusted_resolvers = SHUNT_TRY(resolvers_of(options));
  setup.way_out = SHUNT_TRY(make_way_out(choice, upstream));
  setup.policy = policy_of(std::move(rules), make_direct(upstream), setup.way_out);
  SHUNT_CHECK(setup.open_log_file(options.value("log-to")));
  return setup;
}

}  // namespace shunt::cli
