// SPDX-License-Identifier: GPL-2.0-only
// Policy routing: rules and routes, plain specifications and their owners, in the network namespace
// of the calling thread. The kernel has no owner flag for either, so crash safety is by order: the
// routes go through a TUN device that dies with shunt, and a rule that is left behind then points
// to an empty table. Hence: make routes first, rules last; drop rules first. Instance::sweep()
// relies on that order: it removes a tagged rule of a capture only when its table is empty.
//
// Rules for `table` of a way out lead to a table of the user's and look at a mark that only shunt's
// own sockets bear: left behind, they match nothing. They name no interface, which is what tells
// them from those of a capture.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/endpoint.h"

namespace shunt {

/// The rtm_protocol that tags shunt's rules and routes (`ip rule show protocol 177`).
inline constexpr std::uint8_t kRouteProtocol = 177;

enum class RuleAction : std::uint8_t {
  lookup,       ///< in `table`; goes on with the next rule where that has no route
  jump,         ///< to the rule with the priority `jump_to`
  nothing,      ///< goes on: the end of a jump
  unreachable,  ///< ENETUNREACH
  other,        ///< what RuleSpec does not know; only listed
};

struct RuleSpec {
  Family family = Family::ipv4;
  std::uint32_t priority = 0;
  std::uint32_t mark = 0;
  std::uint32_t mask = 0;      ///< 0: the rule does not look at the mark
  std::string in_interface{};  ///< "": any; "lo": the machine's own traffic
  std::uint32_t table = 0;     ///< 0: the rule does not look up a table
  RuleAction action = RuleAction::lookup;
  std::uint32_t jump_to = 0;  ///< of a jump: greater than `priority`
  std::uint8_t protocol = kRouteProtocol;

  /// "ip -6 rule add pref 100 fwmark 0x1/0xff iif g0 lookup 100 protocol 177", for `plan`.
  [[nodiscard]] std::string text() const;
  bool operator==(const RuleSpec&) const = default;
};

enum class RouteType : std::uint8_t { unicast, local, broadcast, multicast, unreachable, other };

struct RouteSpec {
  Family family = Family::ipv4;
  RouteType type = RouteType::unicast;
  Address destination{};  ///< with prefix_length 0: default
  std::uint8_t prefix_length = 0;
  std::uint32_t table = 254;  ///< main
  std::string interface{};
  std::optional<Address> gateway{};
  std::optional<Address> preferred_source{};  ///< `src`
  std::uint32_t metric = 0;                   ///< 0: the kernel's choice
  std::uint8_t protocol = kRouteProtocol;

  /// "ip route add local default dev shunt0 table 100 proto 177".
  [[nodiscard]] std::string text() const;
  bool operator==(const RouteSpec&) const = default;
};

/// Exists already: not an error for routes, an error (EEXIST) for rules.
Result<void> add_rule(const RuleSpec& rule);
Result<void> add_route(const RouteSpec& route);
/// Not there: not an error.
Result<void> delete_rule(const RuleSpec& rule);
Result<void> delete_route(const RouteSpec& route);

/// Needs no privilege. Rules with selectors that RuleSpec does not know are listed by what it
/// knows.
Result<std::vector<RuleSpec>> list_rules(Family family);
/// One table, or all (0), of one protocol (rtm_protocol), or all (0); without the clones of the
/// cache. A multipath route is listed once, by its first hop.
Result<std::vector<RouteSpec>> list_routes(Family family, std::uint32_t table = 0,
                                           std::uint8_t protocol = 0);

/// Interfaces that a default route of the main table uses, each once.
Result<std::vector<std::string>> default_route_interfaces();
/// Is there any way out: a unicast route of the family through something other than loopback?
Result<bool> has_unicast_route(Family family);

/// What Add put into the kernel; Delete takes it out again when this goes.
template <class Spec, Result<void> (*Add)(const Spec&), Result<void> (*Delete)(const Spec&)>
class Installed {
 public:
  static Result<Installed> create(Spec spec) {
    SHUNT_CHECK(Add(spec));
    return Installed(std::move(spec));
  }
  Installed(Installed&& other) noexcept : spec_(std::exchange(other.spec_, {})) {}
  Installed& operator=(Installed&& other) noexcept {
    if (this != &other) {
      if (spec_) static_cast<void>(Delete(*spec_));
      spec_ = std::exchange(other.spec_, {});
    }
    return *this;
  }
  ~Installed() {
    if (spec_) static_cast<void>(Delete(*spec_));
  }
  [[nodiscard]] const Spec& spec() const { return *spec_; }

 private:
  explicit Installed(Spec spec) : spec_(std::move(spec)) {}
  std::optional<Spec> spec_;
};

using PolicyRule = Installed<RuleSpec, add_rule, delete_rule>;
using PolicyRoute = Installed<RouteSpec, add_route, delete_route>;

}  // namespace shunt
