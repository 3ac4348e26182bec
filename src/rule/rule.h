// SPDX-License-Identifier: GPL-2.0-only
// A rule as it was written: terms that must all hold, and what happens then (docs/rules.md). Plain
// data that policy/ compiles for flows and capture/ turns into nftables matches.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "flow/admission.h"
#include "net/network.h"

namespace shunt {

/// A part of a rule's text, in bytes.
struct TextSpan {
  std::uint32_t first = 0;
  std::uint32_t length = 0;
};

enum class TermKey : std::uint8_t {
  host,
  to,
  client,
  port,
  client_port,
  proto,
  app,
  method,
  path,
  process,
  exe,
  uid,
  gid,
  user,
  cgroup,
  classid,
  unit,
  container,
  interface,
  country,
  asn,
  time,
};

/// As it is written: "client-port".
[[nodiscard]] std::string_view key_name(TermKey key);

/// What a value is compared as.
enum class ValueForm : std::uint8_t {
  exact,       ///< the text itself
  beginning,   ///< `/api/*`: what begins with the text
  subdomains,  ///< `*.example.com`: what lies below the text
  pattern,     ///< `~"RE2"`: what the text, a pattern, is found in
  list,        ///< `@FILE`: the text is the file's name
  network,     ///< an address or a CIDR block
  range,       ///< numbers; minutes of the week for `time`
  account,     ///< the name of a user or group, to be looked up
};

/// One alternative of a term. Only the member that belongs to its form is meant.
struct Value {
  ValueForm form = ValueForm::exact;
  TextSpan span;
  std::string text;       ///< ready for comparing: a host in lower case, a country in upper case
  Network network;        ///< form network
  std::uint32_t low = 0;  ///< form range: both ends belong to it
  std::uint32_t high = 0;
};

struct Term {
  TermKey key = TermKey::host;
  bool negated = false;
  TextSpan key_span;
  TextSpan span;              ///< all of it, from `not` to its last value
  std::vector<Value> values;  ///< at least one
};

/// A word behind the arrow.
struct ActionStep {
  std::string name;  ///< "direct", "reject", "drop", or a way out
  TextSpan span;
};

struct Rule {
  std::string text;  ///< as it was written
  std::vector<Term> terms;
  std::vector<ActionStep> steps;  ///< the first, then what each `else` names
  ConnectMode connect = ConnectMode::automatic;
};

inline constexpr std::string_view kDirect = "direct";
inline constexpr std::string_view kReject = "reject";
inline constexpr std::string_view kDrop = "drop";

inline constexpr std::uint32_t kMinutesPerDay = 24 * 60;
inline constexpr std::uint32_t kMinutesPerWeek = 7 * kMinutesPerDay;

}  // namespace shunt
