// SPDX-License-Identifier: GPL-2.0-only
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "egress/chain.h"
#include "egress/check_way_outs.h"
#include "egress/direct.h"
#include "egress/keep_source.h"
#include "egress/make_proxy.h"
#include "egress/proxy_protocol_out.h"
#include "egress/resolve_server.h"
#include "egress/secret.h"
#include "egress/sendable_name.h"
#include "egress/way_out_spec.h"
#include "egress/way_out_url.h"
#include "egress/wrapped_way_out.h"
#include "kernel/toa.h"

namespace shunt {
namespace {

using WayOutPtr = std::shared_ptr<const WayOut>;

/// What a hop is reached through: another way out, or when that is null a dial with `options`.
struct Before {
  UpstreamOptions options;
  WayOutPtr way_out = nullptr;
  bool first = true;            ///< nothing was said yet of how the connection leaves
  bool resolves_names = false;  ///< `way_out` takes a name and needs no address
};

/// A way out whose `connect` says when its clients are let in.
class WithConnectMode final : public WrappedWayOut {
 public:
  WithConnectMode(WayOutPtr inner, ConnectMode mode)
      : WrappedWayOut(std::move(inner)), mode_(mode) {}
  ConnectMode connect_mode() const override { return mode_; }

 private:
  ConnectMode mode_;
};

bool is_direct(const WayOutSpec& spec) {
  return spec.proxy.empty() && !spec.group && spec.via.empty();
}

UpstreamOptions options_of(const WayOutSpec& spec, UpstreamOptions options,
                           const WayOutContext& context) {
  if (!spec.interface.empty()) options.interface = spec.interface;
  if (spec.mark) options.user_mark = *spec.mark;
  if (spec.table) {
    const auto mark = context.table_marks.find(*spec.table);
    if (mark != context.table_marks.end()) options.user_mark |= mark->second;
  }
  for (const Address& source : spec.source) {
    (source.is_v4() ? options.source_v4 : options.source_v6) = source;
  }
  if (spec.connect_timeout_ms) options.connect_timeout_ms = *spec.connect_timeout_ms;
  return options;
}

Error in_place(Error error, const WayOutSpec& spec, std::string_view key) {
  if (error.place.empty() && spec.place) error.place = spec.place(key);
  return with_context(std::move(error), fmt::format("way out \"{}\"", spec.name));
}

Result<std::optional<Credentials>> credentials_of(const WayOutSpec& spec, const ProxyUrl& url) {
  const std::string user = url.user.value_or(spec.user);
  if (user.empty()) return std::nullopt;
  Credentials credentials{.user = user, .password = {}};
  if (url.scheme == ProxyScheme::socks4a) return credentials;
  const bool from_file = !spec.password_file.empty();
  auto password =
      from_file ? read_password_file(spec.password_file) : read_credential(spec.credential);
  if (!password) {
    return Failure(
        in_place(std::move(password).error(), spec, from_file ? "password-file" : "credential"));
  }
  credentials.password = std::move(*password);
  return credentials;
}

bool resolved_by_hop(const ProxyUrl& url, const Before& before) {
  return before.resolves_names && !sendable_name(url.host).empty();
}

/// A name that the hop before resolves is not looked up here: what this machine's resolver is asked
/// for can be seen on its own network.
Result<std::vector<Endpoint>> addresses_of(const WayOutSpec& spec, const ProxyUrl& url,
                                           const Before& before) {
  if (resolved_by_hop(url, before)) {
    return std::vector{Endpoint{.address = {}, .port = url.port, .scope_id = 0}};
  }
  auto addresses = resolve_server(url.host, url.port);
  if (!addresses) return Failure(in_place(std::move(addresses).error(), spec, "proxy"));
  return addresses;
}

// What leads through itself, or is too deep, was found by check_way_outs().
// NOLINTBEGIN(misc-no-recursion)
class Maker {
 public:
  Maker(std::span<const WayOutSpec> specs, const WayOutContext& context)
      : specs_(specs), context_(context) {}

  Result<WaysOut> make() {
    made_.by_name.emplace("direct", make_direct(context_.options));
    for (const WayOutSpec& spec : specs_) SHUNT_CHECK(named(spec.name));
    return std::move(made_);
  }

 private:
  Before beginning() const { return {.options = context_.options}; }

  /// The one way out of that name which rules use, made when it is first asked for.
  Result<WayOutPtr> named(const std::string& name) {
    if (const auto found = made_.by_name.find(name); found != made_.by_name.end()) {
      return found->second;
    }
    auto way_out = SHUNT_TRY(make_one(*find_spec(specs_, name), beginning()));
    made_.by_name.emplace(name, way_out);
    return way_out;
  }

  Result<WayOutPtr> make_one(const WayOutSpec& spec, Before before);
  Result<WayOutPtr> make_group(const WayOutSpec& spec, const Before& before);
  Result<WayOutPtr> make_server(const WayOutSpec& spec, const Before& before);
  [[nodiscard]] Result<WayOutPtr> make_last_hop(const WayOutSpec& spec, const Before& before) const;
  Result<Before> hop(const WayOutSpec& user, const std::string& name, Before before);
  bool resolves_names(const std::string& name) const;

  std::span<const WayOutSpec> specs_;
  const WayOutContext& context_;
  WaysOut made_;
};

Result<WayOutPtr> Maker::make_one(const WayOutSpec& spec, Before before) {
  const bool own_leaving =
      !spec.interface.empty() || spec.mark || spec.table || !spec.source.empty();
  if (own_leaving && !before.first) {
    return way_out_error(spec, "", "says how its connections leave, so it can only be a first hop");
  }
  for (const std::string& name : spec.via) {
    before = SHUNT_TRY(hop(spec, name, std::move(before)));
  }
  WayOutPtr way_out;
  if (spec.group) {
    way_out = SHUNT_TRY(make_group(spec, before));
  } else if (!spec.proxy.empty()) {
    way_out = SHUNT_TRY(make_server(spec, before));
  } else if (before.way_out == nullptr) {
    way_out = SHUNT_TRY(make_last_hop(spec, before));
  } else {
    way_out = make_chain(spec.name, before.way_out);
  }
  if (spec.proxy_protocol) {
    way_out = make_proxy_protocol_out(std::move(way_out), *spec.proxy_protocol);
  }
  if (spec.connect != ConnectMode::automatic) {
    way_out = std::make_shared<WithConnectMode>(std::move(way_out), spec.connect);
  }
  return way_out;
}

Result<WayOutPtr> Maker::make_last_hop(const WayOutSpec& spec, const Before& before) const {
  UpstreamOptions options = options_of(spec, before.options, context_);
  if (spec.keep_source != KeptEnd::none) {
    return make_keep_source(
        options, {.port = spec.keep_source == KeptEnd::port, .from = spec.keep_source_from},
        spec.name);
  }
  if (spec.toa) {
    auto program = ToaProgram::get();
    if (!program) return Failure(in_place(std::move(program).error(), spec, "toa"));
    options.toa = *std::move(program);
  }
  return make_direct(options, spec.name);
}

Result<WayOutPtr> Maker::make_group(const WayOutSpec& spec, const Before& before) {
  std::vector<Group::Member> members;
  for (const std::string& name : spec.members) {
    const WayOutSpec* member = find_spec(specs_, name);
    if (!before.first && (member == nullptr || is_direct(*member))) {
      return way_out_error(
          spec, "members",
          fmt::format("\"{}\" is no proxy, so the group can only be a first hop", name));
    }
    auto way_out = member == nullptr || before.first ? named(name) : make_one(*member, before);
    if (!way_out) return Failure(std::move(way_out).error());
    members.push_back({.name = name, .way_out = std::move(*way_out)});
  }
  auto group = Group::create(spec.name, spec.group.value_or(GroupKind::failover),
                             std::move(members), spec.check);
  made_.groups.push_back(group);  // one made for a chain has members, checks and a state of its own
  return group;
}

Result<WayOutPtr> Maker::make_server(const WayOutSpec& spec, const Before& before) {
  const ProxyUrl url = SHUNT_TRY(parse_proxy_url(spec.proxy));
  auto credentials = SHUNT_TRY(credentials_of(spec, url));
  auto addresses = SHUNT_TRY(addresses_of(spec, url, before));
  auto server =
      std::make_shared<ProxyServer>(spec.name, std::move(addresses), std::move(credentials),
                                    options_of(spec, before.options, context_));
  server->through = before.way_out;
  server->resolved_by_hop = resolved_by_hop(url, before);
  if (url.scheme == ProxyScheme::https) {
    auto tls = TlsClient::create(
        {.server_name = spec.tls_server_name.empty() ? url.host : spec.tls_server_name,
         .ca_file = spec.tls_ca});
    if (!tls) return Failure(in_place(std::move(tls).error(), spec, "tls-ca"));
    server->tls = std::move(*tls);
  }
  return make_proxy(url, std::move(server), spec.resolve);
}

/// Whether whoever dials at the end of that way out takes a name and needs no address.
bool Maker::resolves_names(const std::string& name) const {
  const WayOutSpec* spec = find_spec(specs_, name);
  if (spec == nullptr) return false;
  if (spec->group) {
    return std::ranges::all_of(spec->members,
                               [this](const auto& member) { return resolves_names(member); });
  }
  if (spec->proxy.empty()) return !spec->via.empty() && resolves_names(spec->via.back());
  const auto url = parse_proxy_url(spec->proxy);
  return url && sends_names(*url, spec->resolve);
}

/// What comes after the hop `name` of `user`.
Result<Before> Maker::hop(const WayOutSpec& user, const std::string& name, Before before) {
  const WayOutSpec* spec = find_spec(specs_, name);
  if (spec == nullptr || is_direct(*spec)) {
    if (!before.first) {
      return way_out_error(
          user, "via", fmt::format("\"{}\" is no proxy, so it can only be the first hop", name));
    }
    before.first = false;
    if (spec == nullptr) return before;  // "direct"
    if (spec->toa) {
      return way_out_error(user, "via",
                           fmt::format("\"{}\" says toa, which is for the last hop alone", name));
    }
    before.options = options_of(*spec, std::move(before.options), context_);
    if (!spec->proxy_protocol) return before;
    before.way_out =
        make_proxy_protocol_out(make_direct(before.options, name), *spec->proxy_protocol);
    return before;
  }
  auto made = before.first ? named(name) : make_one(*spec, before);
  if (!made) return Failure(std::move(made).error());
  before.way_out = std::move(*made);
  before.resolves_names = resolves_names(name);
  before.first = false;
  return before;
}

// NOLINTEND(misc-no-recursion)

}  // namespace

std::shared_ptr<const WayOut> WaysOut::find(std::string_view name) const {
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : found->second;
}

Result<WaysOut> make_ways_out(std::span<const WayOutSpec> specs, const WayOutContext& context) {
  SHUNT_CHECK(check_way_outs(specs, context.own_mark_bits));
  return Maker(specs, context).make();
}

}  // namespace shunt
