// SPDX-License-Identifier: GPL-2.0-only
#include "config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <utility>

#include "base/error_numbers.h"
#include "base/limits.h"
#include "config/check_schema.h"
#include "config/mistake_order.h"
#include "config/section.h"
#include "config/toml_text.h"
#include "policy/file_stamp.h"
#include "rule/parse.h"
#include "rule/values.h"

namespace shunt {
namespace {

constexpr std::uint32_t kVersion = 1;

std::optional<GroupKind> group_kind(std::string_view word) {
  if (word == "failover") return GroupKind::failover;
  if (word == "round-robin") return GroupKind::round_robin;
  if (word == "least-latency") return GroupKind::least_latency;
  if (word == "hash client") return GroupKind::hash_client;
  return std::nullopt;
}

std::optional<proxy_protocol::Version> proxy_protocol_version(std::string_view word) {
  if (word == "v1") return proxy_protocol::Version::v1;
  if (word == "v2") return proxy_protocol::Version::v2;
  return std::nullopt;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

KeptEnd kept_end(const Section& way_out) {
  if (way_out.text("keep-source") == "port") return KeptEnd::port;
  return way_out.boolean("keep-source") ? KeptEnd::address : KeptEnd::none;
}

class ConfigReader {
 public:
  explicit ConfigReader(std::shared_ptr<const SourceText> source)
      : folder_(std::filesystem::path(source->file()).parent_path().string()) {
    config_.source = std::move(source);
  }

  std::expected<Config, Mistakes> read() {
    const auto root = parse_toml(source());
    if (!root) return std::unexpected(Mistakes{root.error()});
    const Section top(&*root);
    check_schema(*root, source(), mistakes_);
    check_version(top);
    read_capture(top.inner("capture"));
    read_listeners(top.find("listen"));
    if (!config_.listeners.empty() && !top.has("capture")) config_.capture.choose_lan = false;
    read_ways_out(top.find("via"));
    read_rules(top.inner("rules"));
    read_dns(top.inner("dns"));
    read_udp(top.inner("udp"));
    read_limits(top.inner("limits"));
    const Section log = top.inner("log");
    config_.log = {.json = log.text("format") == "json", .to = path(log.text("to"))};
    config_.log_place = log.place("to");
    if (mistakes_.empty()) return std::move(config_);
    order_by_place(mistakes_, source().file());
    return std::unexpected(std::move(mistakes_));
  }

 private:
  [[nodiscard]] const SourceText& source() const { return *config_.source; }
  [[nodiscard]] bool full() const { return mistakes_.size() >= limits::kConfigMistakes; }

  void add(Error error) {
    if (!full()) mistakes_.push_back(std::move(error));
  }

  [[nodiscard]] std::string path(const std::string& name) const {
    if (name.empty() || name.starts_with('/') || folder_.empty()) return name;
    return fmt::format("{}/{}", folder_, name);
  }

  /// Of a key, as Error::place has it; "": it is not there.
  [[nodiscard]] std::string shown_place(const Section& section, std::string_view key) const {
    const TextPlace place = section.place(key);
    return place.line == 0 ? std::string() : source().error_at(place, 0, {}).place;
  }

  void check_version(const Section& top) {
    const TomlValue* version = top.find("version");
    if (version == nullptr) {
      return add(source().error_at({.line = 1, .column = 1, .length = 1},
                                   error_number::kConfigVersion,
                                   "the version of the file's format is missing",
                                   fmt::format("begin with: version = {}", kVersion)));
    }
    if (version->type != TomlValue::Type::integer || version->integer == kVersion) return;
    add(source().error_at(version->place, error_number::kConfigVersion,
                          fmt::format("this shunt knows version {} of the format, not {}", kVersion,
                                      version->integer)));
  }

  /// Of a text that is a rule: where it stands, and "" for its line where places in the text are
  /// none of the line.
  [[nodiscard]] RulePlace rule_place(const TomlValue& text) const {
    const StringPlace inside = inside_quotes(source(), text);
    RulePlace place = source().rule_place(inside.place);
    if (!inside.exact) place.line_text.clear();
    return place;
  }

  void read_capture(const Section& section) {
    CaptureConfig& capture = config_.capture;
    GatewayOptions& options = capture.options;
    capture.choose_lan = !section.has("lan");
    capture.lan_place = section.place("lan");
    options.interfaces = section.strings("lan");
    options.host = section.boolean("host");
    options.loopback = section.boolean("loopback");
    options.masquerade = section.boolean("masquerade");
    options.closed = section.text("on-exit") == "closed";
    options.method = method_choice(section.text("method"));
    options.connect = connect_mode_of(section.text("connect"));
    options.notrack = section.boolean("notrack");
    capture.method_place = section.place("method");
    capture.notrack_place = section.place("notrack");
    if (options.loopback && !options.host) {
      add(source().error_at(section.place("loopback"), error_number::kOptionConflict,
                            "loopback is about this machine's own traffic and needs host = true"));
    }
    for (const TomlValue* rule : section.texts("exclude")) {
      auto exclusion = parse_exclusion(rule->text);
      if (exclusion) {
        options.exclusions.push_back(*std::move(exclusion));
      } else {
        RuleMistake mistake = std::move(exclusion).error();
        mistake.number = error_number::kBadExclude;
        add(mistake_error(mistake, rule->text, rule_place(*rule)));
      }
    }
  }

  void read_rules(const Section& section) {
    PolicySource& policy = config_.policy;
    for (const TomlValue* rule : section.texts("match")) {
      policy.rules.push_back({.text = rule->text, .place = rule_place(*rule)});
    }
    if (const TomlValue* fallback = section.find("default");
        fallback != nullptr && fallback->type == TomlValue::Type::text) {
      policy.fallback = {.text = fallback->text, .place = rule_place(*fallback)};
    }
    if (!mistakes_.empty()) check_grammar();
    policy.folder = folder_;
    policy.country_file = path(section.text("country-db"));
    policy.asn_file = path(section.text("asn-db"));
    policy.country_place = shown_place(section, "country-db");
    policy.asn_place = shown_place(section, "asn-db");
    for (const WayOutSpec& spec : config_.ways_out) policy.ways_out.push_back(spec.name);
  }

  /// Where the file is refused already, so that its rules' mistakes are told along with the others;
  /// otherwise Ruleset::compile() finds them, and more.
  void check_grammar() {
    for (const RuleSource& rule : config_.policy.rules) {
      if (full()) return;
      const auto parsed = parse_rule(rule.text);
      if (!parsed) add(mistake_error(parsed.error(), rule.text, rule.place));
    }
  }

  static std::vector<Address> addresses(const Section& section, std::string_view key) {
    std::vector<Address> out;
    for (const std::string& text : section.strings(key)) {
      if (const auto address = Address::parse(text)) out.push_back(*address);
    }
    return out;
  }

  void read_dns(const Section& section) {
    DnsConfig& dns = config_.dns;
    dns.trusted = addresses(section, "trusted");
    dns.mode = dns_mode(section.text("mode")).value_or(dns.mode);
    dns.server = section.text("server");
    dns.via = section.text("via");
    dns.tls_ca = path(section.text("tls-ca"));
    dns.tls_server_name = section.text("tls-server-name");
    dns.range4 = section.text("range4", dns.range4);
    dns.range6 = section.text("range6");
    for (std::string& name : section.strings("real")) {
      std::ranges::transform(name, name.begin(), lower);
      if (name.size() > 1 && name.ends_with('.')) name.pop_back();
      dns.real.push_back(std::move(name));
    }
    dns.place = places_of(section, {"mode", "server", "via", "tls-ca", "tls-server-name", "range4",
                                    "range6", "real"});
    if (auto checked = check_dns(dns); !checked) add(std::move(checked).error());
  }

  void read_udp(const Section& section) {
    UdpNat& udp = config_.udp;
    udp.mapping = nat_mapping(section.text("mapping"));
    udp.filtering = nat_filtering(section.text("filtering"));
    UdpTimeouts& times = udp.timeouts;
    times.unanswered = section.duration_ms("timeout", times.unanswered);
    times.answered = section.duration_ms("answered-timeout", times.answered);
    times.quic = section.duration_ms("quic-timeout", times.quic);
    times.query = section.duration_ms("query-timeout", times.query);
    times.mapping = section.duration_ms("mapping-timeout", times.mapping);
  }

  void read_limits(const Section& section) {
    LimitsConfig& out = config_.limits;
    out.workers = section.count("workers", 0);
    out.sniff_wait_ms = section.duration_ms("sniff-wait", out.sniff_wait_ms);
    out.server_first = section.ports("server-first");
    out.connect_timeout_ms = section.duration_ms("connect-timeout", out.connect_timeout_ms);
    out.idle_timeout_ms = section.duration_ms("idle-timeout", out.idle_timeout_ms);
    out.drain_timeout_ms = section.duration_ms("drain-timeout", out.drain_timeout_ms);
  }

  void read_listeners(const TomlValue* listen) {
    if (listen == nullptr) return;
    for (std::size_t i = 0; i < listen->keys.size(); ++i) {
      if (listen->values[i].type != TomlValue::Type::table) continue;
      config_.listeners.push_back(listener(listen->keys[i], listen->values[i]));
    }
  }

  PlainListener listener(const TomlKey& key, const TomlValue& table) {
    const Section section(&table);
    PlainListener out{.name = key.name, .addresses = {}};
    for (const std::string& text : section.strings("address")) {
      if (const auto endpoint = Endpoint::parse(text)) out.addresses.push_back(*endpoint);
    }
    out.to = Endpoint::parse(section.text("to"));
    for (const std::string& text : section.strings("accept-proxy")) {
      if (const auto network = Network::parse(text)) out.accept_proxy.push_back(*network);
    }
    const std::string protocol = section.text("protocol");
    out.tcp = protocol != "udp";
    out.udp = protocol == "udp" || protocol == "both";
    out.place = places(key, table);
    return out;
  }

  void read_ways_out(const TomlValue* via) {
    if (via == nullptr) return;
    for (std::size_t i = 0; i < via->keys.size(); ++i) {
      if (via->values[i].type != TomlValue::Type::table) continue;
      config_.ways_out.push_back(way_out(via->keys[i], via->values[i]));
    }
  }

  WayOutSpec way_out(const TomlKey& key, const TomlValue& table) {
    const Section section(&table);
    WayOutSpec spec{.name = key.name};
    spec.interface = section.text("interface");
    if (section.has("mark")) spec.mark = section.count("mark", 0);
    spec.source = addresses(section, "source");
    if (section.has("table")) spec.table = section.count("table", 0);
    spec.keep_source = kept_end(section);
    spec.keep_source_from = networks(section, "keep-source-from");
    spec.proxy = section.text("proxy");
    spec.resolve = section.boolean("resolve");
    spec.user = section.text("user");
    spec.password_file = path(section.text("password-file"));
    spec.credential = section.text("credential");
    spec.tls_ca = path(section.text("tls-ca"));
    spec.tls_server_name = section.text("tls-server-name");
    spec.via = section.strings("via");
    spec.proxy_protocol = proxy_protocol_version(section.text("proxy-protocol"));
    spec.toa = section.boolean("toa");
    if (section.has("connect-timeout")) {
      spec.connect_timeout_ms = section.duration_ms("connect-timeout", limits::kConnectTimeoutMs);
    }
    spec.connect = connect_mode_of(section.text("connect"));
    spec.group = group_kind(section.text("group"));
    spec.members = section.strings("members");
    if (section.has("check")) spec.check = health_check(section.inner("check"));
    spec.place = places(key, table);
    return spec;
  }

  std::vector<Network> networks(const Section& section, std::string_view key) {
    std::vector<Network> out;
    for (const TomlValue* text : section.texts(key)) {
      if (const auto network = Network::parse(text->text)) {
        out.push_back(*network);
      } else {
        add(source().error_at(
            text->place, error_number::kBadKeyValue,
            fmt::format("{}: \"{}\" is no address and no network", key, text->text),
            "\"10.0.0.0/8\", \"2001:db8::/32\" or \"192.168.1.5\""));
      }
    }
    return out;
  }

  CheckSpec health_check(const Section& section) {
    CheckSpec check;
    check.target = section.text("target");
    check.interval_ms = section.duration_ms("interval", check.interval_ms);
    // Where it is not said, it is none that contradicts the interval.
    check.timeout_ms =
        section.duration_ms("timeout", std::min(check.timeout_ms, check.interval_ms));
    const std::string expect = section.text("expect");
    if (expect.empty()) return check;
    const auto range = number_range(expect);
    if (range && range->low >= 100 && range->high <= 599) {
      check.lowest_status = static_cast<int>(range->low);
      check.highest_status = static_cast<int>(range->high);
    } else {
      add(source().error_at(section.place("expect"), error_number::kBadKeyValue,
                            "expect wants a status of HTTP, or a range of them",
                            "expect = \"200-299\""));
    }
    return check;
  }

  /// What DnsConfig::place yields, of elements of a list by "KEY.N": it outlives this reader and
  /// the tree.
  [[nodiscard]] std::function<std::string(std::string_view)> places_of(
      const Section& section, std::initializer_list<const char*> keys) const {
    std::vector<TomlKey> known;
    for (const char* key : keys) {
      known.push_back({.name = key, .place = section.place(key)});
      const auto elements = section.texts(key);
      for (std::size_t i = 0; i < elements.size(); ++i) {
        known.push_back({.name = fmt::format("{}.{}", key, i), .place = elements[i]->place});
      }
    }
    return [source = config_.source, known = std::move(known)](std::string_view name) {
      const auto found = std::ranges::find(known, name, &TomlKey::name);
      return found == known.end() ? std::string() : source->error_at(found->place, 0, {}).place;
    };
  }

  /// What WayOutSpec::place and PlainListener::place yield: it outlives this reader.
  [[nodiscard]] std::function<std::string(std::string_view)> places(const TomlKey& key,
                                                                    const TomlValue& table) const {
    std::vector<TomlKey> known{{.name = "", .place = key.place}};
    for (std::size_t i = 0; i < table.keys.size(); ++i) {
      known.push_back({.name = table.keys[i].name, .place = table.values[i].place});
      const TomlValue& inner = table.values[i];
      for (std::size_t j = 0; j < inner.keys.size(); ++j) {
        known.push_back({.name = fmt::format("{}.{}", table.keys[i].name, inner.keys[j].name),
                         .place = inner.values[j].place});
      }
    }
    return [source = config_.source, known = std::move(known)](std::string_view name) {
      const auto found = std::ranges::find(known, name, &TomlKey::name);
      const TextPlace place = found == known.end() ? known.front().place : found->place;
      return source->error_at(place, 0, {}).place;
    };
  }

  std::string folder_;
  Config config_;
  Mistakes mistakes_;
};

}  // namespace

std::expected<Config, Mistakes> parse_config(std::string file, std::string text) {
  return ConfigReader(std::make_shared<SourceText>(std::move(file), std::move(text))).read();
}

std::expected<Config, Mistakes> read_config(const std::string& file) {
  auto read = read_stamped(file, limits::kConfigBytes);
  if (!read) {
    Error error = std::move(read).error();
    error.kind = Kind::configuration;
    error.number = error_number::kConfigFile;
    error.help = fmt::format(
        "another file: shunt serve -c FILE, shunt check FILE; it is {} where "
        "none is named",
        kDefaultConfigFile);
    return std::unexpected(Mistakes{std::move(error)});
  }
  return parse_config(file, std::move(read->bytes));
}

}  // namespace shunt
