// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "base/error_numbers.h"
#include "capture/lan_interfaces.h"
#include "cli/commands.h"
#include "cli/config_report.h"
#include "cli/dns_setup.h"
#include "cli/explain_fake.h"
#include "cli/explain_report.h"
#include "cli/let_in_first.h"
#include "cli/output.h"
#include "config/config.h"

namespace shunt::cli {
namespace {

constexpr std::string_view kProtocols[] = {"tcp", "udp"};

constexpr Option kOptions[] = {
    {.name = "config",
     .short_name = 'c',
     .type = ValueType::path,
     .value = "FILE",
     .help = "the configuration; without it and without --rule, /etc/shunt/shunt.toml"},
    {.name = "rule",
     .type = ValueType::text,
     .value = "RULE",
     .help = "a rule in front of those of the configuration, or instead of one",
     .repeatable = true},
    {.name = "client",
     .type = ValueType::text,
     .value = "ADDRESS",
     .help = "who sends it, from the LAN; without it, this machine"},
    {.name = "in",
     .type = ValueType::interface,
     .value = "IFACE",
     .help = "the interface that it arrives on; without it, the one in the client's network"},
    {.name = "listener",
     .type = ValueType::text,
     .value = "NAME",
     .help = "it arrives at [listen.NAME]; DEST is where a PROXY header says, or left out"},
    {.name = "client-port",
     .type = ValueType::count,
     .value = "PORT",
     .help = "the port that it is sent from",
     .minimum = 1,
     .maximum = 65'535},
    {.name = "host",
     .type = ValueType::text,
     .value = "NAME",
     .help = "the host name that it gives (SNI, Host), or that it looked the address up by"},
    {.name = "process",
     .type = ValueType::text,
     .value = "NAME",
     .help = "the program that it belongs to, by name or path"},
    {.name = "proto",
     .type = ValueType::choice,
     .value = "PROTOCOL",
     .help = "tcp or udp",
     .fallback = "tcp",
     .choices = kProtocols},
    {.name = "json", .help = "as JSON"},
};

constexpr Example kExamples[] = {
    {"shunt explain www.example.com", "what happens to a connection of this machine's own"},
    {"shunt explain 192.0.2.7:80 --client 192.168.1.50 --in br-lan", "and to one from the LAN"},
    {"shunt explain --listener web --client 198.51.100.9", "and to one at a listener"},
};

/// The configuration that is asked about; one without [capture] where only rules are given.
std::expected<CheckedConfig, Mistakes> config_of(const Options& options, bool from_file) {
  Config config;
  if (from_file) {
    const std::string file = options.value("config");
    auto read = read_config(file.empty() ? std::string(kDefaultConfigFile) : file);
    if (!read) return std::unexpected(std::move(read).error());
    config = *std::move(read);
  }
  std::vector<RuleSource> rules;
  for (const std::string& text : options.values("rule")) {
    rules.push_back({.text = text, .place = {.file = "--rule", .line_text = {}}});
  }
  std::ranges::move(config.policy.rules, std::back_inserter(rules));
  config.policy.rules = std::move(rules);
  // As `run` and `gateway` call what --via names.
  if (!from_file) config.policy.ways_out.emplace_back("via");
  auto checked = check_config(std::move(config));
  if (checked) return checked;
  for (Error& mistake : checked.error()) {
    if (mistake.place.starts_with("--rule")) mistake.kind = Kind::usage;
  }
  return checked;
}

/// Without `lan` the interfaces are chosen as the gateway chooses them.
bool complete_lan(CaptureConfig& capture) {
  if (!capture.choose_lan) return !capture.options.interfaces.empty();
  const auto chosen = choose_lan_interfaces({});
  if (!chosen) return true;
  for (const LanInterface& lan : *chosen) capture.options.interfaces.push_back(lan.name);
  return !chosen->empty();
}

/// The listener that is asked about; null: none.
Result<const PlainListener*> listener_of(const Options& options, const Config& config) {
  const std::string name = options.value("listener");
  if (name.empty()) return nullptr;
  const auto found = std::ranges::find(config.listeners, name, &PlainListener::name);
  if (found != config.listeners.end()) return &*found;
  return Failure(make_error(Kind::usage, error_number::kBadValue,
                            fmt::format("there is no listener \"{}\"", name),
                            "the NAME of a [listen.NAME] of the configuration"));
}

Result<std::string> destination_of(const Options& options, const PlainListener* listener) {
  if (listener != nullptr && listener->to) return listener->to->text();
  if (!options.words().empty()) return options.words().front();
  return Failure(make_error(Kind::usage, error_number::kMissingWord,
                            "explain needs a destination: only a listener with `to` has one",
                            "shunt explain [options] DEST"));
}

Result<Facts> facts_asked_about(const Options& options, const PlainListener* listener) {
  const std::string destination = SHUNT_TRY(destination_of(options, listener));
  return facts_of({.destination = destination,
                   .client = options.value("client"),
                   .host = options.value("host"),
                   .process = options.value("process"),
                   .interface = options.value("in"),
                   .client_port = static_cast<std::uint16_t>(options.count("client-port")),
                   .protocol = options.value("proto") == "udp" ? Protocol::udp : Protocol::tcp});
}

/// Whether the gateway captures it. Completes what the file leaves to be found out, and `facts` by
/// the interface.
CaptureAnswer capture_by_gateway(CheckedConfig& checked, Facts& facts) {
  GatewayOptions& options = checked.config.capture.options;
  const bool any_lan = complete_lan(checked.config.capture);
  options.own_dns = takes_own_dns(checked.config.dns, *checked.rules, options.host);
  const auto addresses = list_addresses().value_or(std::vector<InterfaceAddress>{});
  infer_interface(facts, options, addresses);
  return capture_of(facts, options, any_lan, addresses);
}

/// For the row `client`; "": there is none.
std::string client_row(const CheckedConfig& checked, const FlowAnswer& answer, const Facts& facts) {
  const bool by_gateway = answer.capture.captured && !answer.capture.by_listener;
  if (!by_gateway || answer.in_kernel || facts.protocol != Protocol::tcp) return {};
  return let_in_text(checked, answer, facts);
}

Result<int> run_explain(const Options& options) {
  const bool from_file = options.has("config") || !options.has("rule");
  auto checked = config_of(options, from_file);
  if (!checked) return report_mistakes(checked.error());
  const PlainListener* listener = SHUNT_TRY(listener_of(options, checked->config));
  Facts facts = SHUNT_TRY(facts_asked_about(options, listener));
  const auto fake = SHUNT_TRY(name_fake_destination(checked->config.dns, fake_state_file(), facts));
  settle_where_servers_speak_first(*checked, facts);
  std::optional<CaptureAnswer> captured;
  if (listener != nullptr) {
    captured = arrival_at(*listener, facts);
  } else if (from_file) {
    captured = capture_by_gateway(*checked, facts);
  }
  FlowAnswer answer = explain_flow(*checked->rules, facts, captured);
  // Where shunt answers queries itself, all rules are its own to decide.
  if (checked->config.dns.mode != DnsMode::system) answer.in_kernel = false;
  const ExplainedFlow flow{.rules = *checked->rules,
                           .facts = facts,
                           .answer = answer,
                           .with_capture = captured.has_value(),
                           .sniff_wait_ms = checked->config.limits.sniff_wait_ms,
                           .fake = fake,
                           .let_in = captured ? client_row(*checked, answer, facts) : ""};
  SHUNT_CHECK(print(options.has("json") ? explain_json(flow) : explain_text(flow)));
  return 0;
}

}  // namespace

constinit const Command kExplainCommand = {
    .name = "explain",
    .summary = "say what happens to a connection, and why",
    .usage = "[options] [DEST]",
    .description =
        "Says whether a connection to DEST (an address or a name, with :PORT, else port 443) is "
        "captured, which rule decides it and why each rule before that one does not, what would "
        "have to be waited for, what the kernel decides by itself, and which name a fake address "
        "stands for. Nothing is sent but the look-up of a name.",
    .options = kOptions,
    .examples = kExamples,
    .maximum_words = 1,
    .run = run_explain,
};

}  // namespace shunt::cli
