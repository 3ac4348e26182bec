// SPDX-License-Identifier: GPL-2.0-only
#include "capture/selector.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <grp.h>
#include <net/if.h>
#include <pwd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/suggest.h"
#include "net/endpoint.h"

namespace shunt {
namespace {

template <class T>
using Parsed = std::expected<T, SelectorError>;
using Range = std::pair<std::uint32_t, std::uint32_t>;  // both ends belong to it

constexpr std::array<std::string_view, 8> kKeys = {"to",    "client", "port", "client-port",
                                                   "proto", "uid",    "gid",  "in"};
/// Terms of the full grammar that need more than a packet's head.
constexpr std::array<std::string_view, 3> kPolicyKeys = {"host", "process", "path"};

struct Word {
  std::string_view text;
  std::size_t first = 0;
};

std::unexpected<SelectorError> wrong(const Word& word, std::string message,
                                     std::string suggestion = {}) {
  return std::unexpected(SelectorError{.first = word.first,
                                       .length = std::max<std::size_t>(word.text.size(), 1),
                                       .message = std::move(message),
                                       .suggestion = std::move(suggestion)});
}

std::vector<Word> split(const Word& whole, std::string_view separators, bool keep_empty) {
  std::vector<Word> words;
  std::size_t at = 0;
  while (at <= whole.text.size()) {
    const auto end = std::min(whole.text.find_first_of(separators, at), whole.text.size());
    if (end > at || keep_empty) {
      words.push_back({whole.text.substr(at, end - at), whole.first + at});
    }
    at = end + 1;
  }
  return words;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Range> range(std::string_view text) {
  const auto dash = text.find('-');
  const auto low = number(text.substr(0, dash));
  const auto high = dash == std::string_view::npos ? low : number(text.substr(dash + 1));
  if (!low || !high || *low > *high) return std::nullopt;
  return Range{*low, *high};
}

/// nftables refuses overlapping intervals in an anonymous set.
std::vector<Range> merged(std::vector<Range> ranges) {
  std::ranges::sort(ranges);
  std::vector<Range> out;
  for (const Range& next : ranges) {
    if (!out.empty() && next.first <= out.back().second) {
      out.back().second = std::max(out.back().second, next.second);
    } else {
      out.push_back(next);
    }
  }
  return out;
}

std::string nft_set(const std::vector<std::string>& elements) {
  if (elements.size() == 1) return elements.front();
  return fmt::format("{{ {} }}", fmt::join(elements, ", "));
}

std::string nft_ranges(const std::vector<Range>& ranges) {
  std::vector<std::string> texts;
  for (const auto& [low, high] : ranges) {
    texts.push_back(low == high ? fmt::format("{}", low) : fmt::format("{}-{}", low, high));
  }
  return nft_set(texts);
}

struct Cidr {
  Address address;  // host bits cleared
  unsigned prefix_length = 0;

  [[nodiscard]] bool contains(const Cidr& other) const {
    return address.family() == other.address.family() && prefix_length <= other.prefix_length &&
           masked(other.address, prefix_length) == address;
  }
  [[nodiscard]] std::string text() const {
    const bool whole = prefix_length == address.bytes().size() * 8;
    return whole ? address.text() : fmt::format("{}/{}", address.text(), prefix_length);
  }

  static Address masked(const Address& address, unsigned prefix_length) {
    std::array<std::uint8_t, 16> bytes{};
    const std::string_view from = address.bytes();
    for (std::size_t i = 0; i < from.size(); ++i) {
      const std::size_t keep =
          std::min<std::size_t>(8, prefix_length - std::min<std::size_t>(prefix_length, i * 8));
      bytes[i] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(from[i]) &
                                           static_cast<std::uint8_t>(0xff00U >> keep));
    }
    if (!address.is_v4()) {
      in6_addr v6;
      std::ranges::copy(bytes, v6.s6_addr);
      return Address(v6);
    }
    in_addr v4;
    std::copy_n(bytes.begin(), 4, reinterpret_cast<std::uint8_t*>(&v4));
    return Address(v4);
  }
};

std::optional<Cidr> cidr(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = Address::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  const auto bits = static_cast<std::uint32_t>(address->bytes().size() * 8);
  const auto length = slash == std::string_view::npos ? bits : number(text.substr(slash + 1));
  if (!length || *length > bits) return std::nullopt;
  return Cidr{Cidr::masked(*address, *length), *length};
}

std::vector<Cidr> without_nested(std::vector<Cidr> blocks) {
  std::vector<Cidr> out;
  std::ranges::sort(
      blocks, {}, [](const Cidr& block) { return std::pair(block.prefix_length, block.address); });
  for (const Cidr& block : blocks) {
    const bool nested = std::ranges::any_of(out, [&](const Cidr& o) { return o.contains(block); });
    if (!nested) out.push_back(block);
  }
  return out;
}

/// The matches of a rule while its terms are read.
struct Draft {
  std::string v4, v6;  // address matches of either family
  bool maybe_v4 = true, maybe_v6 = true;
  std::string protocol;            // "tcp", "udp", or "" for both
  std::string ports, common, own;  // own: matches that need a local sender
  bool maybe_forwarded = true, maybe_own = true;
};

Parsed<void> add_addresses(Draft& draft, const std::vector<Word>& values, std::string_view side) {
  std::vector<Cidr> blocks;
  for (const Word& value : values) {
    const auto block = cidr(value.text);
    if (!block) {
      return wrong(value, fmt::format("\"{}\" is no address and no CIDR block", value.text));
    }
    blocks.push_back(*block);
  }
  std::vector<std::string> v4, v6;
  for (const Cidr& block : without_nested(std::move(blocks))) {
    (block.address.is_v4() ? v4 : v6).push_back(block.text());
  }
  if (!v4.empty()) draft.v4 += fmt::format("ip {} {} ", side, nft_set(v4));
  if (!v6.empty()) draft.v6 += fmt::format("ip6 {} {} ", side, nft_set(v6));
  draft.maybe_v4 = draft.maybe_v4 && !v4.empty();
  draft.maybe_v6 = draft.maybe_v6 && !v6.empty();
  return {};
}

Parsed<void> add_ports(Draft& draft, const std::vector<Word>& values, std::string_view which) {
  std::vector<Range> ports;
  for (const Word& value : values) {
    const auto parsed = range(value.text);
    if (!parsed || parsed->second > 65535) {
      return wrong(value, fmt::format("\"{}\" is no port and no range of ports", value.text));
    }
    ports.push_back(*parsed);
  }
  draft.ports += fmt::format("th {} {} ", which, nft_ranges(merged(std::move(ports))));
  return {};
}

Parsed<void> add_protocol(Draft& draft, const std::vector<Word>& values) {
  bool tcp = false;
  bool udp = false;
  for (const Word& value : values) {
    if (value.text != "tcp" && value.text != "udp") {
      return wrong(value, fmt::format("unknown protocol \"{}\": tcp or udp; the others are never "
                                      "captured",
                                      value.text));
    }
    (value.text == "tcp" ? tcp : udp) = true;
  }
  if (tcp == udp) return {};
  const std::string_view only = tcp ? "tcp" : "udp";
  if (!draft.protocol.empty() && draft.protocol != only) {
    return wrong(values.front(), "this rule can never match: it asks for tcp and udp at once");
  }
  draft.protocol = only;
  return {};
}

std::optional<std::uint32_t> user_number(const std::string& name) {
  const passwd* entry = ::getpwnam(name.c_str());
  return entry == nullptr ? std::nullopt : std::optional<std::uint32_t>(entry->pw_uid);
}

std::optional<std::uint32_t> group_number(const std::string& name) {
  const group* entry = ::getgrnam(name.c_str());
  return entry == nullptr ? std::nullopt : std::optional<std::uint32_t>(entry->gr_gid);
}

Parsed<void> add_owner(Draft& draft, const std::vector<Word>& values, bool group) {
  std::vector<Range> ids;
  for (const Word& value : values) {
    if (const auto parsed = range(value.text)) {
      ids.push_back(*parsed);
      continue;
    }
    const std::string name(value.text);
    const auto id = group ? group_number(name) : user_number(name);
    if (!id) return wrong(value, fmt::format("no {} \"{}\"", group ? "group" : "user", name));
    ids.push_back({*id, *id});
  }
  draft.own +=
      fmt::format("meta {} {} ", group ? "skgid" : "skuid", nft_ranges(merged(std::move(ids))));
  draft.maybe_forwarded = false;
  return {};
}

Parsed<void> add_interfaces(Draft& draft, const std::vector<Word>& values) {
  std::vector<std::string> names;
  for (const Word& value : values) {
    if (value.text.size() >= IFNAMSIZ || value.text.find_first_of("\"*/\\") != value.text.npos) {
      return wrong(value, fmt::format("\"{}\" is no interface name", value.text));
    }
    const std::string name = fmt::format("\"{}\"", value.text);
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  draft.common += fmt::format("iifname {} ", nft_set(names));
  draft.maybe_own = false;
  return {};
}

Parsed<void> add_term(Draft& draft, const Word& key, const std::vector<Word>& values) {
  if (key.text == "to") return add_addresses(draft, values, "daddr");
  if (key.text == "client") return add_addresses(draft, values, "saddr");
  if (key.text == "port") return add_ports(draft, values, "dport");
  if (key.text == "client-port") return add_ports(draft, values, "sport");
  if (key.text == "proto") return add_protocol(draft, values);
  if (key.text == "uid" || key.text == "gid") return add_owner(draft, values, key.text == "gid");
  return add_interfaces(draft, values);
}

Parsed<void> check_key(const Word& key) {
  if (std::ranges::find(kKeys, key.text) != kKeys.end()) return {};
  if (std::ranges::find(kPolicyKeys, key.text) != kPolicyKeys.end()) {
    return wrong(key, fmt::format("the kernel cannot match \"{}\": a rule that keeps traffic in "
                                  "the kernel takes {}",
                                  key.text, fmt::join(kKeys, ", ")));
  }
  return wrong(key, fmt::format("unknown term \"{}\"", key.text),
               std::string(closest_word(key.text, kKeys)));
}

Parsed<std::vector<Word>> values_of(const Word& key, const Word& list) {
  auto values = split(list, ",", true);
  for (const Word& value : values) {
    if (value.text.empty()) {
      return wrong(value, fmt::format("a value of \"{}\" is missing here", key.text));
    }
  }
  return values;
}

Parsed<void> check_possible(const Draft& draft, const Word& key) {
  const bool possible =
      (draft.maybe_v4 || draft.maybe_v6) && (draft.maybe_forwarded || draft.maybe_own);
  if (possible) return {};
  return wrong(key, "with this term the rule can never match");
}

std::string transport_match(const Draft& draft) {
  const std::string protocol = draft.protocol.empty() ? "meta l4proto { tcp, udp } "
                                                      : "meta l4proto " + draft.protocol + " ";
  if (!draft.ports.empty()) return protocol + draft.ports;
  return draft.protocol.empty() ? "" : protocol;
}

std::vector<std::string> matches(const Draft& draft, std::string_view extra) {
  const std::string rest = fmt::format("{}{}{}", transport_match(draft), draft.common, extra);
  const bool any_family = draft.v4.empty() && draft.v6.empty();
  std::vector<std::string> out;
  if (any_family) {
    out.push_back(rest);
  } else {
    if (draft.maybe_v4) out.push_back(draft.v4 + rest);
    if (draft.maybe_v6) out.push_back(draft.v6 + rest);
  }
  for (std::string& match : out) {
    if (match.ends_with(' ')) match.pop_back();
  }
  return out;
}

}  // namespace

std::expected<Exclusion, SelectorError> parse_exclusion(std::string_view text) {
  const auto words = split({text, 0}, " \t", false);
  if (words.empty()) return wrong({text, 0}, "a rule needs at least one term");
  Draft draft;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    const Word& key = words[i];
    if (const auto known = check_key(key); !known) return std::unexpected(known.error());
    if (i + 1 == words.size()) {
      return wrong({"", text.size()}, fmt::format("a value of \"{}\" is missing here", key.text));
    }
    const auto values = values_of(key, words[i + 1]);
    if (!values) return std::unexpected(values.error());
    if (const auto added = add_term(draft, key, *values); !added) {
      return std::unexpected(added.error());
    }
    if (const auto possible = check_possible(draft, key); !possible) {
      return std::unexpected(possible.error());
    }
  }
  Exclusion exclusion{.text = std::string(text), .forwarded = {}, .own = {}};
  if (draft.maybe_forwarded) exclusion.forwarded = matches(draft, "");
  if (draft.maybe_own) exclusion.own = matches(draft, draft.own);
  return exclusion;
}

}  // namespace shunt
