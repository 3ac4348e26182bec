// SPDX-License-Identifier: GPL-2.0-only
#include "cli/service.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error_numbers.h"
#include "base/log.h"
#include "cli/dns_setup.h"
#include "cli/kernel_decisions.h"
#include "cli/needs_restart.h"
#include "cli/proxy_loop.h"
#include "cli/rules_change.h"
#include "egress/race.h"
#include "policy/hit_counters.h"

namespace shunt::cli {
namespace {

std::string counted(std::size_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

Error restart_error(const std::vector<std::string>& keys) {
  return make_error(Kind::configuration, error_number::kNeedsRestart,
                    fmt::format("nothing was changed: {} cannot be changed while shunt runs",
                                fmt::join(keys, ", ")),
                    "stop `shunt serve` and start it again");
}

void log_unused_lists(const Error& mistake) {
  log(LogLevel::error, fmt::format("a changed list is not used, the old rules stay: {}{}{}",
                                   mistake.text(), mistake.place.empty() ? "" : " at ",
                                   mistake.place.substr(0, mistake.place.find('\n'))));
}

std::shared_ptr<const Policy> policy_of(const CheckedConfig& checked, const WaysOut& made,
                                        const Policy* before) {
  std::vector<std::shared_ptr<const WayOut>> ways;
  for (const std::string& name : checked.rules->ways_out()) ways.push_back(made.find(name));
  const std::string& for_dns = checked.config.dns.via;
  return Policy::create(checked.rules, std::move(ways), before,
                        for_dns.empty() ? nullptr : made.find(for_dns));
}

/// `wanted`: what the new configuration does for the first time.
Error privilege_error(std::string_view wanted) {
  return make_error(Kind::configuration, error_number::kNeedsRestart,
                    fmt::format("nothing was changed: {}, and shunt gave up the right to do so "
                                "when it started, since nothing asked for it",
                                wanted),
                    "stop `shunt serve` and start it again");
}

/// What a reload will want to do once more.
PrivilegeNeeds needs_of(const CheckedConfig& checked) {
  const Config& config = checked.config;
  PrivilegeNeeds needs = privilege_needs(*checked.rules, config.capture.options.host);
  needs.files.push_back(config.source->file());
  needs.toa = std::ranges::any_of(config.ways_out, &WayOutSpec::toa);
  for (const WayOutSpec& way : config.ways_out) {
    for (const std::string& file : {way.password_file, way.tls_ca}) {
      if (!file.empty()) needs.files.push_back(file);
    }
  }
  return needs;
}

}  // namespace

Service::Service(CheckedConfig checked, GatewayRequest request)
    : checked_(std::move(checked)), request_(std::move(request)) {}

Service::~Service() = default;

Result<std::unique_ptr<Service>> Service::create(CheckedConfig checked) {
  auto request = SHUNT_TRY(gateway_request(checked));
  std::unique_ptr<Service> service(new Service(std::move(checked), std::move(request)));
  SHUNT_CHECK(service->prepare());
  return service;
}

Result<void> Service::prepare() {
  const Config& config = checked_.config;
  capture_ = std::make_unique<GatewayCapture>(SHUNT_TRY(GatewayCapture::create(request_.capture)));
  traffic_.loop_guard = std::make_shared<LoopGuard>();
  if (auto opened = traffic_.open_log_file(config.log.to); !opened) {
    Error error = std::move(opened).error();
    error.place = config.source->error_at(config.log_place, 0, {}).place;
    return Failure(std::move(error));
  }
  auto made = SHUNT_TRY(make(checked_));
  // Its names are looked up now: once traffic is captured, so are shunt's own queries.
  checker_ = SHUNT_TRY(HealthChecker::create(made.ways_out.groups));
  ways_out_ = std::move(made.ways_out);
  traffic_.policy = std::move(made.policy);
  warnings_ =
      look_for_oddities();  // who listens at a proxy's port is best seen with all privileges
  dns_ = SHUNT_TRY(set_up_dns(dns_config(config), capture_->method().method));
  kept_ = SHUNT_TRY(give_up_privileges(needs_of(checked_)));
  traffic_.start_log(config.log.json, STDOUT_FILENO, nullptr);
  if (request_.capture.host) processes_ = SHUNT_TRY(HostProcesses::create());
  options_ = SHUNT_TRY(proxy_options());
  kernel_base_.assign(checked_.rules->size() + 1, 0);
  return {};
}

Result<ProxyOptions> Service::proxy_options() {
  const Config& config = checked_.config;
  ProxyOptions options;
  options.policy = traffic_.policy;
  options.loop_guard = traffic_.loop_guard;
  options.log = traffic_.log.get();
  options.observe_content = traffic_.log != nullptr;
  options.sniff_wait_ms = config.limits.sniff_wait_ms;
  options.server_first_ports = config.limits.server_first;
  options.trusted_resolvers = config.dns.trusted;
  options.udp = config.udp;
  options.idle_timeout_ms = config.limits.idle_timeout_ms;
  options.processes = processes_.get();
  options.dns = dns_;
  std::size_t proxies = 0;
  for (const auto& [name, way_out] : ways_out_.by_name) {
    proxies = std::max(proxies, way_out->proxies().size());
  }
  options.other_descriptors = checker_->most_descriptors() + race_descriptors(proxies);
  options.workers = capture_->take_listeners();
  options.own_tables = parts_descriptor_tables(config.limits.workers);
  SHUNT_CHECK(open_plain_listeners(request_.listeners, options.workers, capture_->egress_mark()));
  options.method = capture_->method().method;
  options.own_listeners = capture_->own_listeners();
  std::ranges::copy(own_endpoints(request_.listeners), std::back_inserter(options.own_listeners));
  options.reply_sockets = capture_->reply_sockets();
  return options;
}

// What shunt sends needs the kernel's rules as much as what it captures: a way out by a table, or
// the way back to a kept address. Clients wait in the listeners' queues until then.
Result<std::vector<std::string>> Service::install() {
  auto problems = SHUNT_TRY(capture_->install());
  SHUNT_CHECK(checker_->start());
  checker_->begin();
  proxy_ = SHUNT_TRY(Proxy::start(std::move(options_)));
  return problems;
}

Result<Service::Made> Service::make(const CheckedConfig& checked) const {
  const TableMarks marks = SHUNT_TRY(capture_->marks_with(leaving_options(checked.config).tables));
  const WayOutContext context{
      .options = {.mark = capture_->egress_mark(),
                  .observer = traffic_.loop_guard.get(),
                  .connect_timeout_ms = checked.config.limits.connect_timeout_ms,
                  .kept_mark = capture_->kept_source_mark()},
      .own_mark_bits = own_mark_bits(marks),
      .table_marks = marks.by_table()};
  auto made = SHUNT_TRY(make_ways_out(checked.config.ways_out, context));
  auto policy = policy_of(checked, made, traffic_.policy.get());
  return Made{.ways_out = std::move(made), .policy = std::move(policy)};
}

std::expected<void, Mistakes> Service::replace_policy(const CheckedConfig& checked,
                                                      std::shared_ptr<const Policy> policy,
                                                      Proxy::LiveFlows live) {
  if (auto replaced = replace_kernel_rules(checked); !replaced) {
    return std::unexpected(Mistakes{std::move(replaced).error()});
  }
  proxy_->replace_policy(policy, live);
  earlier_policies_.emplace_back(traffic_.policy);
  may_retire_ = true;
  last_trouble_.clear();
  traffic_.policy = std::move(policy);
  refused_files_.clear();
  return {};
}

void Service::keep_names_real(std::initializer_list<const Config*> configs) {
  if (dns_ == nullptr) return;
  std::vector<std::string> names;
  for (const Config* config : configs) {
    std::ranges::copy(dns_config(*config).real, std::back_inserter(names));
  }
  dns_->real->replace(std::move(names));
}

std::expected<void, Mistakes> Service::apply(CheckedConfig checked, Proxy::LiveFlows live) {
  keep_names_real({&checked_.config, &checked.config});
  auto applied = apply_by_real_names(std::move(checked), live);
  keep_names_real({&checked_.config});  // the new one's, or still the old one's
  return applied;
}

std::expected<void, Mistakes> Service::apply_by_real_names(CheckedConfig checked,
                                                           Proxy::LiveFlows live) {
  auto made = make(checked);
  if (!made) return std::unexpected(Mistakes{std::move(made).error()});
  auto checker = HealthChecker::create(made->ways_out.groups);
  if (!checker) return std::unexpected(Mistakes{std::move(checker).error()});
  if (auto started = (*checker)->start(); !started) {
    return std::unexpected(Mistakes{std::move(started).error()});
  }
  if (auto replaced = replace_policy(checked, std::move(made->policy), live); !replaced) {
    return replaced;
  }
  ways_out_ = std::move(made->ways_out);
  checker_ = *std::move(checker);
  checker_->begin();  // as in install(): not before the kernel's rules are there
  checked_ = std::move(checked);
  warnings_ = look_for_oddities();
  return {};
}

std::expected<void, Mistakes> Service::apply_lists(CheckedConfig checked) {
  auto replaced = replace_policy(checked, policy_of(checked, ways_out_, traffic_.policy.get()),
                                 Proxy::LiveFlows::keep);
  if (replaced) checked_ = std::move(checked);
  return replaced;
}

/// Counters of the kernel begin anew with the table that they are in: what they had counted for
/// rules that stay is added from then on, and what they count for others under the same number is
/// taken off.
Result<void> Service::replace_kernel_rules(const CheckedConfig& checked) {
  auto before = capture_->kernel_hits();
  if (!before) return Failure(std::move(before).error());
  const bool by_kernel = checked.config.dns.mode == DnsMode::system;
  const bool replaced = SHUNT_TRY(capture_->replace_rules(
      {.exclusions = checked.config.capture.options.exclusions,
       .kernel_rules = by_kernel ? kernel_decisions(*checked.rules) : std::vector<KernelDecision>(),
       .own_dns = takes_own_dns(checked.config.dns, *checked.rules, request_.capture.host),
       .leaving = leaving_options(checked.config)}));
  const auto counted = [&](std::uint32_t rule) {
    const auto found = before->find(rule);
    return found == before->end() ? std::int64_t{0} : static_cast<std::int64_t>(found->second);
  };
  std::vector<std::int64_t> base;
  for (const std::uint32_t same : same_rules(*checked_.rules, *checked.rules)) {
    const auto rule = static_cast<std::uint32_t>(base.size());
    const std::int64_t total = same == kNoSuchRule ? 0 : kernel_base_[same] + counted(same);
    base.push_back(replaced ? total : total - counted(rule));
  }
  kernel_base_ = std::move(base);
  return {};
}

Result<std::vector<RuleHits>> Service::rule_hits() const {
  const auto kernel = SHUNT_TRY(capture_->kernel_hits());
  const HitCounters& counters = traffic_.policy->hits();
  std::vector<RuleHits> hits(checked_.rules->size() + 1);
  for (std::uint32_t rule = 0; rule < hits.size(); ++rule) {
    const auto found = kernel.find(rule);
    hits[rule].in_kernel = found != kernel.end();
    const std::int64_t now =
        hits[rule].in_kernel ? static_cast<std::int64_t>(found->second) : std::int64_t{0};
    hits[rule].kernel = static_cast<std::uint64_t>(kernel_base_[rule] + now);
    hits[rule].total = counters.hits(rule) + hits[rule].kernel;
    hits[rule].since = counters.since(rule);
  }
  return hits;
}

std::expected<std::string, Mistakes> Service::reload(Proxy::LiveFlows live) {
  // Whatever becomes of the file: who rotates logs has nothing to do with it.
  if (const auto opened = traffic_.reopen_log_file(checked_.config.log.to); !opened) {
    log(LogLevel::error, "the log file stays the one that is open: " + opened.error().text());
  }
  auto config = read_config(checked_.config.source->file());
  if (!config) return std::unexpected(std::move(config).error());
  if (const auto keys = needs_restart(checked_.config, *config); !keys.empty()) {
    return std::unexpected(Mistakes{restart_error(keys)});
  }
  auto checked = check_config(*std::move(config), own_mark_bits());
  if (!checked) return std::unexpected(std::move(checked).error());
  const PrivilegeNeeds needs = needs_of(*checked);
  if (kept_.gave_up_processes && needs.processes) {
    return std::unexpected(
        Mistakes{privilege_error("the new rules look up what program a connection comes from")});
  }
  if (!kept_.toa && needs.toa) {
    return std::unexpected(Mistakes{privilege_error("a new way out attaches an eBPF program")});
  }
  const std::string change = rules_change_text(*checked_.rules, *checked->rules);
  if (auto applied = apply(*std::move(checked), live); !applied) {
    return std::unexpected(std::move(applied).error());
  }
  return fmt::format("reloaded: {} ({})", text(), change);
}

// A live flow holds the policy that decided it, and so the ways out of that.
void Service::forget_earlier_ways_out() {
  if (!may_retire_) return;
  std::erase_if(earlier_policies_, [](const auto& policy) { return policy.expired(); });
  if (!earlier_policies_.empty()) return;
  const auto hits = capture_->kernel_hits();
  const auto retired = capture_->retire_earlier_leaving();
  if (!retired) return warn_of_change(retired.error());  // tried again with the next look
  may_retire_ = false;
  if (!*retired || !hits) return;
  for (const auto& [rule, count] : *hits) kernel_base_[rule] += static_cast<std::int64_t>(count);
}

void Service::warn_of_change(const Error& error) {
  if (std::exchange(last_trouble_, error.text()) == error.text()) return;
  log(LogLevel::warning, "changing the kernel's rules, tried again and again: " + error.text());
}

std::uint32_t Service::own_mark_bits() const { return own_mark_bits(capture_->table_marks()); }

std::uint32_t Service::own_mark_bits(const TableMarks& tables) const {
  return capture_->plan().spec.marks.mask | tables.bits_in_use();
}

std::string Service::look() const {
  std::string text;
  for (const FileStamp& file : checked_.rules->files()) {
    struct stat found{};
    if (::stat(file.path.c_str(), &found) != 0) {
      text += "none\n";
      continue;
    }
    text += fmt::format("{} {} {} {}\n", found.st_ino, found.st_size, found.st_mtim.tv_sec,
                        found.st_mtim.tv_nsec);
  }
  return text;
}

void Service::look_at_files() {
  if (!checked_.rules->outdated()) return;
  std::string now = look();
  if (now == refused_files_) return;
  auto checked = check_config(checked_.config, own_mark_bits());
  if (!checked) {
    refused_files_ = std::move(now);
    return log_unused_lists(checked.error().front());
  }
  if (const auto applied = apply_lists(*std::move(checked)); !applied) {
    // Not the files' fault: tried again, and said once for as long as it is the same.
    return warn_of_change(with_context(applied.error().front(), "a changed list is not used yet"));
  }
  log(LogLevel::info, fmt::format("read changed lists again: {}", text()));
}

std::vector<std::string> Service::look_for_oddities() const {
  std::vector<std::string> out;
  const WayOut* fallback = traffic_.policy->carrier(0);
  if (capture_->method().method == CaptureMethod::tproxy && fallback != nullptr &&
      !fallback->carries_udp()) {
    out.push_back(
        fmt::format("the default, {}, carries no UDP: captured datagrams (DNS, QUIC) that no rule "
                    "matches are refused; exclude = [\"proto udp\"] lets them go directly",
                    fallback->name()));
  }
  GatewayOptions capture = request_.capture;
  capture.exclusions = checked_.config.capture.options.exclusions;
  for (const auto& [name, way_out] : ways_out_.by_name) {
    if (auto loop =
            proxy_loop_warning(*way_out, capture, *checked_.rules, Wording::configuration)) {
      out.push_back(*std::move(loop));
    }
  }
  return out;
}

std::string Service::text() const {
  return fmt::format("{}, {}", counted(checked_.rules->size(), "rule", "rules"),
                     counted(checked_.config.ways_out.size(), "way out", "ways out"));
}

}  // namespace shunt::cli
