// SPDX-License-Identifier: GPL-2.0-only
#include "egress/check_way_outs.h"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "base/error_numbers.h"
#include "base/escape.h"
#include "base/section_name.h"
#include "base/suggest.h"
#include "egress/check_target.h"
#include "egress/tls_client.h"
#include "egress/way_out_cycles.h"
#include "egress/way_out_url.h"

namespace shunt {
namespace {

constexpr std::string_view kDirect = "direct";
constexpr std::size_t kMostHops = 8;

Result<void> check_name(std::span<const WayOutSpec> specs, const WayOutSpec& spec) {
  if (!is_section_name(spec.name)) {
    return way_out_error(spec, "", R"(a name is made of letters, digits, "-", "_" and ".")");
  }
  if (spec.name == kDirect) {
    return way_out_error(spec, "", "the name is shunt's own: the way out that needs no settings");
  }
  // In a rule these words never mean a way out.
  if (spec.name == "reject" || spec.name == "drop" || spec.name == "else") {
    return way_out_error(spec, "", "the name is a word of the rules' own", "another name");
  }
  if (std::ranges::count(specs, spec.name, &WayOutSpec::name) > 1) {
    return way_out_error(spec, "", "two ways out have this name");
  }
  return {};
}

Result<void> check_interface(const WayOutSpec& spec) {
  const std::string& name = spec.interface;
  if (name.empty()) return {};
  const bool odd = std::ranges::any_of(
      name, [](char c) { return c == '/' || static_cast<unsigned char>(c) <= ' '; });
  if (name.size() < IFNAMSIZ && !odd) return {};
  return way_out_error(spec, "interface",
                       fmt::format("\"{}\" cannot be the name of an interface", escaped(name)));
}

Result<void> check_mark(const WayOutSpec& spec, std::uint32_t own_bits) {
  if (!spec.mark) return {};
  if (*spec.mark == 0) return way_out_error(spec, "mark", "0 is no mark", "leave the key out");
  const std::uint32_t shared = *spec.mark & own_bits;
  if (shared == 0) return {};
  Failure failure = way_out_error(
      spec, "mark",
      fmt::format("{:#x} meets the bits that shunt marks packets with: {:#x}", *spec.mark, shared),
      fmt::format("a mark within {:#010x}", ~own_bits));
  failure.error().number = error_number::kMarkTaken;
  return failure;
}

Result<void> check_source(const WayOutSpec& spec) {
  for (const Address& address : spec.source) {
    if (address.is_any() || address.is_multicast()) {
      return way_out_error(spec, "source",
                           fmt::format("{} is no address to send from", address.text()));
    }
    if (std::ranges::count(spec.source, address.family(), &Address::family) > 1) {
      return way_out_error(spec, "source", "at most one address of each family");
    }
  }
  return {};
}

constexpr std::uint32_t kLocalTable = 255;  // the kernel's: addresses of this machine

Result<void> check_table(const WayOutSpec& spec) {
  if (spec.table && (*spec.table == 0 || *spec.table == kLocalTable)) {
    return way_out_error(spec, "table", fmt::format("{} is no table that leads out", *spec.table));
  }
  return {};
}

struct Given {
  std::string_view key;
  bool given;
};

// The first of `keys` that is given is the mistake: it makes no sense `because`.
Result<void> none_given(const WayOutSpec& spec, std::initializer_list<Given> keys,
                        std::string_view because) {
  for (const auto& [key, given] : keys) {
    if (given) return way_out_error(spec, key, because);
  }
  return {};
}

Result<void> check_group(const WayOutSpec& spec) {
  if (!spec.group) {
    return none_given(spec, {{"members", !spec.members.empty()}, {"check", spec.check.has_value()}},
                      R"(only a group (`group = "failover"`, …) has these)");
  }
  SHUNT_CHECK(none_given(spec,
                         {{"proxy", !spec.proxy.empty()},
                          {"via", !spec.via.empty()},
                          {"interface", !spec.interface.empty()},
                          {"mark", spec.mark.has_value()},
                          {"table", spec.table.has_value()},
                          {"source", !spec.source.empty()},
                          {"keep-source", spec.keep_source != KeptEnd::none},
                          {"connect-timeout", spec.connect_timeout_ms.has_value()}},
                         "a group has members and no way of its own"));
  if (spec.members.empty()) {
    return way_out_error(spec, "group", "a group without members", R"(members = ["a", "b"])");
  }
  if (spec.members.size() > Group::kMostMembers) {
    return way_out_error(spec, "members", fmt::format("more than {}", Group::kMostMembers));
  }
  for (const std::string& member : spec.members) {
    if (std::ranges::count(spec.members, member) > 1) {
      return way_out_error(spec, "members", fmt::format("\"{}\" stands there twice", member));
    }
  }
  return check_health_check(spec);
}

/// The name of a file below $CREDENTIALS_DIRECTORY (egress/secret.h).
Result<void> check_credential(const WayOutSpec& spec) {
  const std::string& name = spec.credential;
  if (!name.contains('/') && name != "." && name != "..") return {};
  Failure failure = way_out_error(spec, "credential", "not a plain file name",
                                  "what the service's unit has in LoadCredential=NAME:FILE");
  failure.error().number = error_number::kPasswordFile;
  return failure;
}

Result<void> check_secrets(const WayOutSpec& spec) {
  const bool secret = !spec.password_file.empty() || !spec.credential.empty();
  if (spec.proxy.empty()) {
    return none_given(spec,
                      {{"user", !spec.user.empty()},
                       {"password-file", !spec.password_file.empty()},
                       {"credential", !spec.credential.empty()},
                       {"resolve", spec.resolve},
                       {"tls-ca", !spec.tls_ca.empty()},
                       {"tls-server-name", !spec.tls_server_name.empty()}},
                      "only a proxy is told this");
  }
  if (!spec.password_file.empty() && !spec.credential.empty()) {
    return way_out_error(spec, "credential", "the password comes from one place, not from two",
                         "leave out credential or password-file");
  }
  SHUNT_CHECK(check_credential(spec));
  auto url = parse_proxy_url(spec.proxy);
  if (!url) return way_out_error(spec, "proxy", "not the URL of a proxy");  // see check_proxy()
  if (url->scheme != ProxyScheme::https) {
    SHUNT_CHECK(none_given(
        spec,
        {{"tls-ca", !spec.tls_ca.empty()}, {"tls-server-name", !spec.tls_server_name.empty()}},
        "only an https:// proxy is spoken to within TLS"));
  }
  if (url->user && !spec.user.empty()) {
    return way_out_error(spec, "user", "the URL names a user already");
  }
  const bool user = url->user || !spec.user.empty();
  if (url->scheme == ProxyScheme::socks4a && secret) {
    return way_out_error(spec, spec.credential.empty() ? "password-file" : "credential",
                         "SOCKS4 knows no password");
  }
  if (secret && !user) {
    return way_out_error(spec, spec.credential.empty() ? "password-file" : "credential",
                         "a password without a user", R"(user = "NAME")");
  }
  if (user && !secret && url->scheme != ProxyScheme::socks4a) {
    return way_out_error(spec, spec.user.empty() ? "proxy" : "user", "a user without a password",
                         R"(password-file = "FILE" or credential = "NAME")");
  }
  if (spec.user.size() > 255 || (is_http(url->scheme) && spec.user.contains(':'))) {
    return way_out_error(spec, "user", "at most 255 bytes, and for HTTP no colon");
  }
  return {};
}

/// `--via URL` as a key of the file.
std::string in_a_file(const std::string& help) {
  constexpr std::string_view kOption = "--via ";
  if (!help.starts_with(kOption)) return help;
  return fmt::format("proxy = \"{}\"", help.substr(kOption.size()));
}

// The parser speaks of --via, and its help of flags that a file does not have.
Result<void> check_proxy(const WayOutSpec& spec) {
  if (spec.proxy.empty()) return {};
  auto url = parse_proxy_url(spec.proxy);
  if (url) return {};
  constexpr std::string_view kFlag = "--via: ";
  Error error = std::move(url).error();
  const bool password = error.number == error_number::kPasswordOnCommandLine;
  std::string what = error.message.starts_with(kFlag) ? error.message.substr(kFlag.size())
                                                      : std::move(error.message);
  if (password) what = "a password in the URL can be read by everybody who sees the file";
  Failure failure =
      way_out_error(spec, "proxy", what,
                    password ? R"(leave it out: password-file = "FILE" or credential = "NAME")"
                             : in_a_file(error.help));
  if (failure.error().place.empty()) failure.error().place = std::move(error.place);
  return failure;
}

bool keeps_source(const WayOutSpec& spec) { return spec.keep_source != KeptEnd::none; }

/// Not where all of it is 0.0.0.0/8, loopback or multicast: in 0.0.0.0/1 there is everybody else.
bool may_hold_clients(const Network& network) {
  static const std::array kNobody = {*Network::parse("0.0.0.0/8"), *Network::parse("127.0.0.0/8"),
                                     *Network::parse("224.0.0.0/4"), *Network::parse("::/127"),
                                     *Network::parse("ff00::/8")};
  return std::ranges::none_of(
      kNobody, [&network](const Network& nobody) { return nobody.contains(network); });
}

Result<void> check_keep_source(const WayOutSpec& spec) {
  if (!keeps_source(spec)) {
    return none_given(spec, {{"keep-source-from", !spec.keep_source_from.empty()}},
                      "only keep-source = true or \"port\" makes use of it");
  }
  SHUNT_CHECK(none_given(spec, {{"source", !spec.source.empty()}},
                         "keep-source says already whose address the server sees"));
  SHUNT_CHECK(none_given(spec, {{"toa", spec.toa}},
                         "with keep-source the server sees the client's address as it is"));
  SHUNT_CHECK(none_given(spec, {{"proxy", !spec.proxy.empty()}, {"via", !spec.via.empty()}},
                         "the server sees the address of the proxy before it, so keep-source has "
                         "nothing to keep"));
  SHUNT_CHECK(none_given(
      spec, {{"connect", spec.keep_source == KeptEnd::port && spec.connect == ConnectMode::honest}},
      "with keep-source = \"port\" a client is always let in first"));
  for (const Network& network : spec.keep_source_from) {
    if (may_hold_clients(network)) continue;
    return way_out_error(spec, "keep-source-from",
                         fmt::format("{} holds no client's address", network.text()));
  }
  return {};
}

/// A connection by it may bear a client's address: by itself, or by a member.
// NOLINTBEGIN(misc-no-recursion): as deep as `left` says
bool shows_client(std::span<const WayOutSpec> specs, const std::string& name, std::size_t left) {
  const WayOutSpec* found = find_spec(specs, name);
  if (found == nullptr || left == 0) return false;
  if (keeps_source(*found) || found->toa) return true;
  return std::ranges::any_of(found->members, [&](const std::string& member) {
    return shows_client(specs, member, left - 1);
  });
}
// NOLINTEND(misc-no-recursion)

Result<void> check_hops(std::span<const WayOutSpec> specs, const WayOutSpec& spec) {
  for (const std::string& name : spec.via) {
    if (!shows_client(specs, name, kDeepestWayOut)) continue;
    return way_out_error(spec, "via",
                         fmt::format("\"{}\" keeps clients' addresses or tells them (toa), and a "
                                     "proxy is reached from this machine's own",
                                     name));
  }
  return {};
}

Result<void> check_via(const WayOutSpec& spec) {
  if (spec.via.empty()) return {};
  SHUNT_CHECK(none_given(spec,
                         {{"interface", !spec.interface.empty()},
                          {"mark", spec.mark.has_value()},
                          {"table", spec.table.has_value()},
                          {"source", !spec.source.empty()}},
                         "the first hop of `via` makes the connection: it stands there"));
  if (spec.via.size() <= kMostHops) return {};
  return way_out_error(spec, "via", fmt::format("more than {} hops", kMostHops));
}

// A proxy and the server behind it would take the option for their own client's.
Result<void> check_toa(const WayOutSpec& spec) {
  const bool direct = spec.proxy.empty() && spec.via.empty() && !spec.group;
  return none_given(spec, {{"toa", spec.toa && !direct}},
                    "only a direct way out opens the server's connection itself");
}

/// Whether a proxy is the last hop that the way out itself names, of a group in every member.
// NOLINTBEGIN(misc-no-recursion): as deep as `left` says
bool ends_in_proxy(std::span<const WayOutSpec> specs, const std::string& name, std::size_t left) {
  const WayOutSpec* found = find_spec(specs, name);
  if (found == nullptr || left == 0) return name != kDirect;  // unknown: told elsewhere
  if (!found->proxy.empty()) return true;
  if (!found->via.empty()) return ends_in_proxy(specs, found->via.back(), left - 1);
  if (!found->group) return false;
  return std::ranges::all_of(found->members, [&](const std::string& member) {
    return ends_in_proxy(specs, member, left - 1);
  });
}
// NOLINTEND(misc-no-recursion)

Result<void> check_greeted(std::span<const WayOutSpec> specs, const WayOutSpec& spec) {
  if (!spec.group || !spec.check || !spec.check->target.empty()) return {};
  for (const std::string& member : spec.members) {
    if (ends_in_proxy(specs, member, kDeepestWayOut)) continue;
    return way_out_error(spec, "check",
                         fmt::format("without a target the members' proxies are checked, and "
                                     "\"{}\" is none",
                                     member),
                         R"(target = "tcp://HOST:PORT" or "http://HOST/PATH")");
  }
  return {};
}

/// The way out of that name, or what is wrong with it.
void check_names(std::span<const WayOutSpec> specs, const WayOutSpec& spec, std::string_view key,
                 const std::vector<std::string>& names, std::vector<Error>& mistakes) {
  std::vector<std::string_view> known{kDirect};
  for (const WayOutSpec& other : specs) known.emplace_back(other.name);
  for (const std::string& name : names) {
    if (std::ranges::find(known, name) != known.end()) continue;
    const auto near = closest_word(name, known);
    Failure failure =
        way_out_error(spec, key, fmt::format("unknown way out \"{}\"", escaped(name)),
                      near.empty() ? std::string() : fmt::format("did you mean \"{}\"?", near));
    failure.error().number = error_number::kUnknownWayOut;
    mistakes.push_back(std::move(failure).error());
  }
}

}  // namespace

Failure way_out_error(const WayOutSpec& spec, std::string_view key, std::string_view what,
                      std::string help) {
  return Failure(Error{.kind = Kind::configuration,
                       .os_error = 0,
                       .message = fmt::format("way out \"{}\"{}{}: {}", escaped(spec.name),
                                              key.empty() ? "" : ", ", key, what),
                       .help = std::move(help),
                       .number = error_number::kBadWayOut,
                       .place = spec.place ? spec.place(key) : std::string()});
}

const WayOutSpec* find_spec(std::span<const WayOutSpec> specs, std::string_view name) {
  const auto found = std::ranges::find(specs, name, &WayOutSpec::name);
  return found == specs.end() ? nullptr : &*found;
}

std::vector<Error> way_out_mistakes(std::span<const WayOutSpec> specs,
                                    std::uint32_t own_mark_bits) {
  std::vector<Error> mistakes;
  const auto note = [&mistakes](Result<void> checked) {
    if (checked) return true;
    mistakes.push_back(std::move(checked).error());
    return false;
  };
  for (const WayOutSpec& spec : specs) {
    note(check_name(specs, spec));
    note(check_interface(spec));
    note(check_mark(spec, own_mark_bits));
    note(check_source(spec));
    note(check_table(spec));
    note(check_keep_source(spec));
    note(check_group(spec));
    // What a proxy is told depends on what it is.
    if (note(check_proxy(spec))) note(check_secrets(spec));
    note(check_via(spec));
    note(check_toa(spec));
    note(check_hops(specs, spec));
    note(check_greeted(specs, spec));
    check_names(specs, spec, "via", spec.via, mistakes);
    check_names(specs, spec, "members", spec.members, mistakes);
  }
  std::ranges::move(way_out_cycles(specs), std::back_inserter(mistakes));
  return mistakes;
}

std::vector<Error> trust_mistakes(std::span<const WayOutSpec> specs) {
  std::vector<Error> mistakes;
  for (const WayOutSpec& spec : specs) {
    if (spec.tls_ca.empty()) continue;
    auto made = TlsClient::create({.server_name = {}, .ca_file = spec.tls_ca});
    if (made) continue;
    Error error = std::move(made).error();
    error.place = spec.place ? spec.place("tls-ca") : std::string();
    mistakes.push_back(with_context(std::move(error), fmt::format("way out \"{}\"", spec.name)));
  }
  return mistakes;
}

Result<void> check_way_outs(std::span<const WayOutSpec> specs, std::uint32_t own_mark_bits) {
  auto mistakes = way_out_mistakes(specs, own_mark_bits);
  if (mistakes.empty()) return {};
  return Failure(std::move(mistakes.front()));
}

}  // namespace shunt
