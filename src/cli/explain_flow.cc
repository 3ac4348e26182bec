// SPDX-License-Identifier: GPL-2.0-only
#include "cli/explain_flow.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <utility>
#include <vector>

#include "base/error_numbers.h"
#include "cli/place.h"
#include "dns/message.h"
#include "kernel/local_destination.h"
#include "net/network.h"
#include "net/resolved.h"
#include "net/socket.h"
#include "policy/kernel_rules.h"
#include "rule/values.h"

namespace shunt::cli {
namespace {

constexpr std::uint16_t kUsualPort = 443;
constexpr std::array<std::uint16_t, 4> kDhcpPorts = {67, 68, 546, 547};

struct Target {
  std::string host;  ///< address or name
  std::uint16_t port = kUsualPort;
};

Error bad_target(std::string_view text) {
  return make_error(Kind::usage, error_number::kBadValue,
                    fmt::format("\"{}\" is no destination", text),
                    "ADDRESS, NAME, ADDRESS:PORT or [IPv6 ADDRESS]:PORT");
}

Result<Target> target_of(const std::string& text) {
  if (Address::parse(text)) return Target{.host = text};
  if (const auto endpoint = Endpoint::parse(text)) {
    if (endpoint->port == 0) return Failure(bad_target(text));
    return Target{.host = endpoint->address.text(), .port = endpoint->port};
  }
  Target target{.host = text.substr(0, text.rfind(':'))};
  if (target.host.size() < text.size()) {
    const char* first = text.data() + target.host.size() + 1;
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(first, last, target.port);
    if (error != std::errc() || end != last || target.port == 0) return Failure(bad_target(text));
  }
  if (!host_name(target.host)) return Failure(bad_target(text));
  return target;
}

Result<Address> resolve(const std::string& host) {
  if (const auto address = Address::parse(host)) return *address;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failure = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  std::vector<Endpoint> endpoints;
  if (failure == 0) {
    endpoints = resolved_endpoints(found, 1);
    ::freeaddrinfo(found);
  }
  if (!endpoints.empty()) return endpoints.front().address;
  return Failure(make_error(Kind::runtime,
                            fmt::format("{} has no address: {}", host, ::gai_strerror(failure)),
                            fmt::format("shunt explain ADDRESS --host {}", host)));
}

/// What this machine would send from: the kernel's choice, without a packet (connect(2) of UDP).
Address own_source(const Endpoint& destination) {
  const Family family = destination.address.family();
  const auto probe = make_socket(family, SocketType::datagram);
  if (!probe) return Address::any(family);
  const SocketAddress address(destination);
  if (::connect(probe->get(), address.get(), address.size()) != 0) return Address::any(family);
  const auto own = local_endpoint(probe->get());
  return own ? own->address : Address::any(family);
}

Result<void> add_name(Facts& facts, const std::string& host) {
  if (host.empty()) return {};
  auto name = host_name(host);
  if (!name) {
    return Failure(make_error(Kind::usage, error_number::kBadValue,
                              fmt::format("\"{}\" is no host name", host)));
  }
  facts.name = {.state = FactState::known,
                .name = *std::move(name),
                .source = NameSource::tls_sni,
                .verified = false};
  return {};
}

Result<void> check_question(const FlowQuestion& question) {
  const auto conflict = [](std::string message, std::string help) {
    return Failure(make_error(Kind::usage, error_number::kOptionConflict, std::move(message),
                              std::move(help)));
  };
  const bool own = question.client.empty();
  if (own && !question.interface.empty()) {
    return conflict("what arrives on an interface has a client",
                    fmt::format("--client ADDRESS --in {}", question.interface));
  }
  if (!own && !question.process.empty()) {
    return conflict("the process of a client is on the client's machine, and never known here",
                    "--client or --process, not both");
  }
  return {};
}

void add_process(Facts& facts, const FlowQuestion& question) {
  const bool own = question.client.empty();
  facts.process.state = own ? FactState::unknown : FactState::never;
  if (question.process.empty()) return;
  facts.process.state = FactState::known;
  facts.process.name = question.process;
  if (question.process.starts_with('/')) {
    facts.process.exe = question.process;
    facts.process.name = question.process.substr(question.process.rfind('/') + 1);
  }
}

/// The rules that the kernel decides, as rules of their terms alone.
bool kernel_leaves(const Ruleset& rules, const Facts& facts, std::uint32_t decided_by) {
  const auto kernel = kernel_rules(rules);
  PolicySource source;
  for (const KernelRule& rule : kernel) {
    std::string text;
    for (const Term& term : rule.terms) {
      text += rule.text.substr(term.span.first, term.span.length) + " ";
    }
    source.rules.push_back({.text = text + "-> direct", .place = {}});
  }
  const auto terms = Ruleset::compile(std::move(source));
  if (!terms) return false;
  const std::uint32_t first = decide(**terms, facts, Wait::over).rule;
  return first != 0 && kernel[first - 1].effect == KernelRule::Effect::leave &&
         kernel[first - 1].rule == decided_by;
}

std::optional<std::string> matching_exclusion(const Facts& facts, const GatewayOptions& capture) {
  PolicySource source;
  for (const Exclusion& exclusion : capture.exclusions) {
    source.rules.push_back({.text = exclusion.text + " -> direct", .place = {}});
  }
  const auto terms = Ruleset::compile(std::move(source));
  if (!terms) return std::nullopt;
  const std::uint32_t first = decide(**terms, facts, Wait::over).rule;
  if (first == 0) return std::nullopt;
  return capture.exclusions[first - 1].text;
}

bool is_dhcp(const Facts& facts) {
  return facts.protocol == Protocol::udp &&
         std::ranges::find(kDhcpPorts, facts.destination.port) != kDhcpPorts.end();
}

/// Of what is never captured, that which the destination alone shows.
std::string_view never_captured(const Facts& facts, bool own, bool loopback) {
  const Address& to = facts.destination.address;
  if (to.is_multicast()) return "multicast is never captured";
  if (to.is_link_local()) return "link-local destinations are never captured";
  if (to.is_loopback() && !own) return "nothing is forwarded to a loopback address";
  if (to.is_loopback() && !loopback) return "connections to itself need loopback = true";
  if (is_dhcp(facts)) return "DHCP is never captured";
  return {};
}

bool is_broadcast(const Address& to, const InterfaceAddress& own) {
  if (!to.is_v4()) return false;
  const std::uint32_t address = ntohl(to.v4().s_addr);
  if (address == INADDR_BROADCAST) return true;
  if (own.prefix_length == 0 || own.prefix_length > 30) return false;
  const std::uint32_t hosts = UINT32_MAX >> own.prefix_length;
  return address == (ntohl(own.address.v4().s_addr) | hosts);
}

/// Of what is never captured, that which this machine's addresses show; "" for all else.
std::string stays_here(const Facts& facts, bool own, const GatewayOptions& capture,
                       std::span<const InterfaceAddress> addresses) {
  const Address& to = facts.destination.address;
  for (const InterfaceAddress& entry : addresses) {
    if (entry.address.family() != to.family()) continue;
    if (entry.address == to && !(own && capture.loopback)) {
      return own ? "connections to itself need loopback = true" : "it goes to this machine itself";
    }
    if (is_broadcast(to, entry)) return "broadcast is never captured";
    const bool lan =
        std::ranges::find(capture.interfaces, entry.interface) != capture.interfaces.end();
    if (!own && lan && Network::of(entry.address, entry.prefix_length).contains(to)) {
      return fmt::format("it goes to the LAN itself ({})", entry.interface);
    }
  }
  return {};
}

}  // namespace

Result<Facts> facts_of(const FlowQuestion& question) {
  const Target target = SHUNT_TRY(target_of(question.destination));
  SHUNT_CHECK(check_question(question));
  Facts facts;
  facts.protocol = question.protocol;
  facts.destination = {.address = SHUNT_TRY(resolve(target.host)), .port = target.port};
  facts.minute_of_week = minute_of_week(std::time(nullptr));
  if (question.client.empty()) {
    facts.client.address = own_source(facts.destination);
    facts.interface = "";
  } else {
    const auto client = Address::parse(question.client);
    if (!client) {
      Error error = make_error(Kind::usage, error_number::kBadValue,
                               fmt::format("--client \"{}\" is no IP address", question.client));
      error.place = point_at_value("explain", "client", question.client);
      return Failure(std::move(error));
    }
    facts.client.address = *client;
  }
  facts.client.port = question.client_port;
  if (!question.interface.empty()) facts.interface = question.interface;
  const bool named = !Address::parse(target.host);
  SHUNT_CHECK(add_name(facts, question.host.empty() && named ? target.host : question.host));
  add_process(facts, question);
  return facts;
}

void infer_interface(Facts& facts, const GatewayOptions& capture,
                     std::span<const InterfaceAddress> addresses) {
  if (facts.interface) return;
  std::uint8_t longest = 0;
  for (const InterfaceAddress& entry : addresses) {
    const Address& client = facts.client.address;
    const bool near = entry.address.family() == client.family() && entry.prefix_length > longest &&
                      Network::of(entry.address, entry.prefix_length).contains(client);
    if (!near) continue;
    longest = entry.prefix_length;
    facts.interface = entry.interface;
  }
  if (!facts.interface && capture.interfaces.size() == 1) {
    facts.interface = capture.interfaces.front();
  }
}

CaptureAnswer capture_of(const Facts& facts, const GatewayOptions& capture, bool any_lan,
                         std::span<const InterfaceAddress> addresses) {
  const bool own = facts.interface && facts.interface->empty();
  if (own && !capture.host) {
    return {.captured = false, .why = "this machine's own traffic is captured with host = true"};
  }
  const Endpoint& to = facts.destination;
  const bool asks_resolver =
      own && capture.own_dns && to.port == dns::kPort && to.address.is_loopback();
  if (const auto why = never_captured(facts, own, capture.loopback || asks_resolver);
      !why.empty()) {
    return {.captured = false, .why = std::string(why)};
  }
  if (const auto why = stays_here(facts, own, capture, addresses); !why.empty() && !asks_resolver) {
    return {.captured = false, .why = why};
  }
  if (!own && !any_lan) {
    return {.captured = false, .why = "no interface of a LAN is captured"};
  }
  if (!own && facts.interface && !capture.interfaces.empty() &&
      std::ranges::find(capture.interfaces, *facts.interface) == capture.interfaces.end()) {
    return {.captured = false, .why = fmt::format("{} is not captured", *facts.interface)};
  }
  if (facts.protocol == Protocol::udp && capture.method == MethodChoice::redirect) {
    return {.captured = false, .why = "REDIRECT captures no UDP"};
  }
  if (const auto text = matching_exclusion(facts, capture)) {
    return {.captured = false, .why = fmt::format("excluded by \"{}\"", *text)};
  }
  if (own) return {.captured = true, .why = "it is this machine's own traffic"};
  return {.captured = true,
          .why = facts.interface ? fmt::format("it comes from the LAN ({})", *facts.interface)
                                 : "it comes from the LAN"};
}

CaptureAnswer arrival_at(const PlainListener& listener, const Facts& facts) {
  CaptureAnswer out{.captured = true, .why = {}, .by_listener = true};
  if (!(facts.protocol == Protocol::tcp ? listener.tcp : listener.udp)) {
    out.captured = false;
    out.why = fmt::format("the listener {} does not take that protocol", listener.name);
    out.goes = "nowhere: nothing listens there";
  } else if (!listener.to && ends_on_this_machine(facts.destination.address)) {
    out.captured = false;
    out.why = fmt::format("no PROXY header at the listener {} may lead to this machine itself",
                          listener.name);
    out.goes = facts.protocol == Protocol::tcp ? "nowhere: it is reset, no rule is asked"
                                               : "nowhere: it is dropped, no rule is asked";
  } else {
    out.why = fmt::format("it arrives at the listener {}", listener.name);
  }
  return out;
}

FlowAnswer explain_flow(const Ruleset& rules, const Facts& facts,
                        const std::optional<CaptureAnswer>& capture) {
  FlowAnswer answer{.capture = capture.value_or(CaptureAnswer{}),
                    .now = explain(rules, facts, Wait::possible),
                    .at_last = explain(rules, facts, Wait::over)};
  const std::uint32_t rule = answer.at_last.decision.rule;
  answer.untold = std::ranges::any_of(answer.at_last.rules, [](const RuleExplanation& one) {
    return one.outcome == RuleExplanation::Outcome::undecided;
  });
  answer.in_kernel = !answer.capture.by_listener && !answer.untold &&
                     !answer.now.decision.needs.any() && rule != 0 &&
                     kernel_leaves(rules, facts, rule);
  return answer;
}

}  // namespace shunt::cli
