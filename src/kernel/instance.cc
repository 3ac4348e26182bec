// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/instance.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "base/log.h"
#include "kernel/capabilities.h"
#include "kernel/nft.h"
#include "kernel/policy_route.h"
#include "kernel/record.h"
#include "kernel/state_lock.h"
#include "kernel/sweep.h"
#include "kernel/sysctl.h"
#include "kernel/table_marks.h"
#include "kernel/text_file.h"

namespace shunt {
namespace {

constexpr std::uint32_t kFirstRouteTable = 17700;
constexpr std::uint32_t kRouteTables = 1000;  // places that are tried
constexpr std::uint32_t kUsualPriority = 100;
constexpr std::uint32_t kMainPriority = 32766;  // of the rule that looks up table main
constexpr unsigned kNumbers = 256;              // instances of one namespace

std::string owned_name(unsigned number) { return fmt::format("shunt-{}", number); }
std::string closed_name(unsigned number) { return fmt::format("shunt-{}-closed", number); }

/// A number whose names are free: in the records and in the kernel, where a dead instance's closed
/// table or an instance with another record may have them.
Result<unsigned> free_number(const Records& records) {
  std::set<std::string> taken;
  for (const auto& instance : records.live) taken.insert(instance.allotment.table_name);
  if (has_capability(CAP_NET_ADMIN)) {
    for (const auto& table : SHUNT_TRY(list_nft_tables())) taken.insert(table.name);
  }
  for (unsigned number = 0; number < kNumbers; ++number) {
    if (!taken.contains(owned_name(number)) && !taken.contains(closed_name(number))) return number;
  }
  return Failure(make_error(Kind::conflict, "too many instances of shunt in this network namespace",
                            "shunt down removes what dead ones left"));
}

/// Numbers that the administrator gave a name to.
std::set<std::uint32_t> named_tables() {
  std::set<std::uint32_t> numbers;
  std::istringstream lines(read_text_file("/etc/iproute2/rt_tables").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    if (std::uint32_t number = 0; words >> number) numbers.insert(number);
  }
  return numbers;
}

Result<std::uint32_t> free_route_table(const Records& records, const std::vector<RuleSpec>& rules) {
  std::set<std::uint32_t> taken = named_tables();
  for (const auto& rule : rules) taken.insert(rule.table);
  for (const auto& instance : records.live) taken.insert(instance.allotment.route_table);
  for (std::uint32_t table = kFirstRouteTable; table < kFirstRouteTable + kRouteTables; ++table) {
    if (taken.contains(table)) continue;
    if (!SHUNT_TRY(list_routes(Family::ipv4, table)).empty()) continue;
    if (!SHUNT_TRY(list_routes(Family::ipv6, table)).empty()) continue;
    return table;
  }
  return Failure(make_error(Kind::conflict,
                            fmt::format("no free routing table from {} on", kFirstRouteTable)));
}

/// A block of free priorities, before any foreign rule if there is room: a VPN's catch-all rule in
/// front of ours would win.
Result<std::uint32_t> free_priorities(const Records& records, const std::vector<RuleSpec>& rules) {
  constexpr std::uint32_t kBlock = Allotment::kPriorities;
  std::set<std::uint32_t> taken;
  for (const auto& rule : rules) taken.insert(rule.priority);
  for (const auto& instance : records.live) {
    for (std::uint32_t i = 0; i < kBlock; ++i) taken.insert(instance.allotment.first_priority + i);
  }
  const auto first_foreign = taken.upper_bound(0);
  std::uint32_t start = kUsualPriority;
  if (first_foreign != taken.end() && *first_foreign < start + kBlock) {
    start = *first_foreign > kBlock ? *first_foreign - kBlock : 1;
  }
  while (start + kBlock <= kMainPriority) {
    const auto next = taken.lower_bound(start);
    if (next == taken.end() || *next >= start + kBlock) return start;
    start = *next + 1;
  }
  return Failure(make_error(
      Kind::conflict,
      fmt::format("no {} free ip rule priorities in a row before {}", kBlock, kMainPriority)));
}

/// The one whose marks are adopted, if any.
Result<std::vector<std::string>> dead_closed_table(const Records& records, LeftMarks left) {
  if (left == LeftMarks::avoid || !has_capability(CAP_NET_ADMIN)) return std::vector<std::string>{};
  auto tables = SHUNT_TRY(dead_closed_tables(records));
  if (tables.size() > 1) tables.resize(1);
  return tables;
}

Result<void> choose_mark_bits(Allotment& allotment, const Records& records,
                              const std::vector<RuleSpec>& rules, LeftMarks left) {
  const auto closed = SHUNT_TRY(dead_closed_table(records, left));
  std::uint32_t used_bits = mark_bits_in_use(rules, closed);
  for (const auto& instance : records.live) {
    used_bits |= instance.allotment.marks.mask | instance.allotment.table_mask;
  }
  const std::uint32_t left_bits = closed.empty() ? 0 : nft_mark_bits_of(closed.front());
  const auto adopted = (left_bits & used_bits) == 0 ? marks_within(left_bits) : std::nullopt;
  if (adopted) {
    allotment.marks = *adopted;
    allotment.adopted_marks = true;
  } else {
    used_bits |= left_bits;
    allotment.marks = SHUNT_TRY(choose_marks(used_bits));
  }
  allotment.table_mask = choose_table_mask(used_bits | allotment.marks.mask);
  return {};
}

Result<Allotment> choose(const Records& records, const std::vector<RuleSpec>& rules,
                         LeftMarks left) {
  Allotment allotment;
  allotment.number = SHUNT_TRY(free_number(records));
  SHUNT_CHECK(choose_mark_bits(allotment, records, rules, left));
  allotment.route_table = SHUNT_TRY(free_route_table(records, rules));
  allotment.first_priority = SHUNT_TRY(free_priorities(records, rules));
  allotment.table_name = owned_name(allotment.number);
  allotment.closed_table_name = closed_name(allotment.number);
  return allotment;
}

/// Writes the record and locks it. On failure nothing is left.
Result<HeldFd> write_record(const std::string& path, const LiveInstance& instance) {
  HeldFd fd(UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)));
  if (!fd.valid()) return Failure(errno_error(fmt::format("make {}", path)));
  const auto text = encode_record(instance);
  int os_error = 0;
  if (const auto locked = try_lock(fd.get()); !locked || !*locked) {
    os_error = locked ? EWOULDBLOCK : locked.error().os_error;
  } else if (const auto written = ::write(fd.get(), text.data(), text.size()); written < 0) {
    os_error = errno;
  } else if (static_cast<std::size_t>(written) != text.size()) {
    os_error = ENOSPC;
  }
  if (os_error == 0) return fd;
  ::unlink(path.c_str());
  return Failure(errno_error(fmt::format("write {}", path), os_error));
}

}  // namespace

Instance::Instance(Allotment allotment, std::string run, std::string directory, HeldFd lock)
    : allotment_(std::move(allotment)),
      run_(std::move(run)),
      directory_(std::move(directory)),
      lock_(std::move(lock)) {}

Result<Instance> Instance::create(std::string_view command, const Admission& admission,
                                  LeftMarks left_marks) {
  SHUNT_CHECK(require_capability(CAP_NET_ADMIN, "capturing traffic"));
  auto run = SHUNT_TRY(run_directory());
  const auto state = SHUNT_TRY(StateLock::take(run));
  tidy_run_directory(run);
  auto directory = SHUNT_TRY(namespace_directory(run));
  const auto records = read_records(directory);
  if (admission) SHUNT_CHECK(admission(records.live));
  const auto swept = SHUNT_TRY(sweep_rules_and_sysctls(directory, records));
  for (const auto& line : swept.removed) {
    log(LogLevel::info, fmt::format("removed what a killed shunt left: {}", line));
  }
  const auto rules = SHUNT_TRY(all_rules());
  auto allotment = SHUNT_TRY(choose(records, rules, left_marks));
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return Failure(errno_error(fmt::format("make {}", directory)));
  }
  auto lock =
      write_record(record_path(directory, allotment.number),
                   {.pid = ::getpid(), .command = std::string(command), .allotment = allotment});
  if (!lock) {
    ::rmdir(directory.c_str());  // unless others have records there
    return Failure(std::move(lock).error());
  }
  return Instance(std::move(allotment), std::move(run), std::move(directory), std::move(*lock));
}

Result<Allotment> Instance::preview() {
  Records records;
  if (const auto run = existing_run_directory(); !run.empty()) {
    const auto directory = SHUNT_TRY(namespace_directory(run));
    records = read_records(directory);
  }
  auto rules = SHUNT_TRY(all_rules());
  const auto dead = SHUNT_TRY(dead_rules(records));
  std::erase_if(rules,
                [&](const RuleSpec& rule) { return std::ranges::find(dead, rule) != dead.end(); });
  return choose(records, rules, LeftMarks::adopt);
}

Instance& Instance::operator=(Instance&& other) noexcept {
  if (this != &other) {
    leave();
    allotment_ = std::move(other.allotment_);
    run_ = std::move(other.run_);
    directory_ = std::move(other.directory_);
    lock_ = std::move(other.lock_);
  }
  return *this;
}

Instance::~Instance() { leave(); }

void Instance::leave() {
  if (!lock_.valid()) return;  // moved from, or a forked child
  // Without the state lock nothing is undone: the next start or `shunt down` does it.
  const auto state = StateLock::take(run_);
  if (state) remove_record(record_path(directory_, allotment_.number));
  lock_.reset();
  if (!state) {
    log(LogLevel::warning, state.error().text());
    return;
  }
  if (!nobody_lives(read_records(directory_))) return;
  const auto sysctls = SysctlJournal(directory_ + "/sysctls").restore();
  for (const auto& line : sysctls.left) log(LogLevel::info, line);
  for (const auto& line : sysctls.failed) log(LogLevel::warning, line);
  ::rmdir(directory_.c_str());
}

std::string Instance::control_socket() const {
  return control_socket_path(directory_, allotment_.number);
}

Result<void> Instance::raise_sysctl(std::string_view path, std::string_view value) {
  const auto state = SHUNT_TRY(StateLock::take(run_));
  return SysctlJournal(directory_ + "/sysctls").raise(path, value);
}

SweepReport Instance::sweep_closed_tables() {
  const auto state = StateLock::take(run_);
  auto report = state ? shunt::sweep_closed_tables(read_records(directory_))
                      : Result<SweepReport>(Failure(state.error()));
  if (report) return std::move(*report);
  return {.removed = {}, .kept = {}, .problems = {report.error().text()}};
}

Result<std::vector<LiveInstance>> live_instances() {
  std::vector<LiveInstance> live;
  for (const std::string& run : readable_run_directories()) {
    const auto directory = SHUNT_TRY(namespace_directory(run));
    std::ranges::move(read_records(directory).live, std::back_inserter(live));
  }
  return live;
}

}  // namespace shunt
