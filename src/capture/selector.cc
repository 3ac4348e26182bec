// SPDX-License-Identifier: GPL-2.0-only
#include "capture/selector.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "kernel/net_cls.h"
#include "rule/accounts.h"
#include "rule/kernel_terms.h"
#include "rule/parse.h"

namespace shunt {
namespace {

std::string nft_set(const std::vector<std::string>& elements) {
  if (elements.size() == 1) return elements.front();
  return fmt::format("{{ {} }}", fmt::join(elements, ", "));
}

std::string nft_ranges(const std::vector<NumberRange>& ranges) {
  std::vector<std::string> texts;
  texts.reserve(ranges.size());
  for (const auto& [low, high] : ranges) {
    texts.push_back(low == high ? fmt::format("{}", low) : fmt::format("{}-{}", low, high));
  }
  return nft_set(texts);
}

/// nftables refuses overlapping blocks in an anonymous set.
std::vector<Network> without_nested(std::vector<Network> blocks) {
  std::vector<Network> out;
  std::ranges::sort(blocks, {}, [](const Network& block) {
    return std::pair(block.prefix_length, block.address);
  });
  for (const Network& block : blocks) {
    const bool nested =
        std::ranges::any_of(out, [&](const Network& outer) { return outer.contains(block); });
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
  std::vector<NumberRange> users;  // of the last `uid` or `user`
};

void add_addresses(Draft& draft, const Term& term, std::string_view side) {
  std::vector<Network> blocks;
  blocks.reserve(term.values.size());
  for (const Value& value : term.values) blocks.push_back(value.network);
  std::vector<std::string> v4;
  std::vector<std::string> v6;
  for (const Network& block : without_nested(std::move(blocks))) {
    (block.address.is_v4() ? v4 : v6).push_back(block.text());
  }
  if (!v4.empty()) draft.v4 += fmt::format("ip {} {} ", side, nft_set(v4));
  if (!v6.empty()) draft.v6 += fmt::format("ip6 {} {} ", side, nft_set(v6));
  draft.maybe_v4 = draft.maybe_v4 && !v4.empty();
  draft.maybe_v6 = draft.maybe_v6 && !v6.empty();
}

Parsed<void> add_protocol(Draft& draft, const Term& term) {
  const auto named = [&](std::string_view name) {
    return std::ranges::find(term.values, name, &Value::text) != term.values.end();
  };
  if (named("tcp") && named("udp")) return {};
  const std::string& only = term.values.front().text;
  if (!draft.protocol.empty() && draft.protocol != only) {
    return mistake_at(term.values.front().span,
                      "this rule can never match: it asks for tcp and udp at once");
  }
  draft.protocol = only;
  return {};
}

Parsed<void> add_owner(Draft& draft, const Term& term) {
  const auto ids = account_numbers(term);
  if (!ids) return std::unexpected(ids.error());
  draft.own +=
      fmt::format("meta {} {} ", term.key == TermKey::gid ? "skgid" : "skuid", nft_ranges(*ids));
  draft.maybe_forwarded = false;
  if (term.key != TermKey::gid) draft.users = *ids;
  return {};
}

void add_interfaces(Draft& draft, const Term& term) {
  std::vector<std::string> names;
  for (const Value& value : term.values) {
    const std::string name = fmt::format("\"{}\"", value.text);
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  draft.common += fmt::format("iifname {} ", nft_set(names));
  draft.maybe_own = false;
}

/// Where cgroup2 is mounted, as nftables sees it: below /sys/fs/cgroup, with a slash at the end
/// unless it is that folder itself. Beside version 1 systemd mounts it on `unified`.
std::optional<std::string> cgroup2_prefix() {
  struct statfs found{};
  if (::statfs("/sys/fs/cgroup", &found) == 0 && found.f_type == CGROUP2_SUPER_MAGIC) return "";
  if (::statfs("/sys/fs/cgroup/unified", &found) == 0 && found.f_type == CGROUP2_SUPER_MAGIC) {
    return "unified/";
  }
  return std::nullopt;
}

/// `socket cgroupv2 level N` compares the socket's ancestor of that depth, so that what lies below
/// a cgroup is matched with it.
Parsed<void> add_cgroups(Draft& draft, const Term& term) {
  const auto prefix = cgroup2_prefix();
  if (!prefix) return mistake_at(term.key_span, "no cgroup2 hierarchy is mounted here");
  const Value& value = term.values.front();
  if (term.values.size() > 1) {
    return mistake_at(term.values[1].span, "the kernel matches one cgroup in a rule");
  }
  const std::string path = *prefix + value.text.substr(1);
  struct stat folder{};
  const bool exists = ::stat(fmt::format("/sys/fs/cgroup/{}", path).c_str(), &folder) == 0;
  const bool plain = path.find_first_of("\"\\*") == std::string::npos;
  if (value.text == "/" || !plain || !exists) {
    return mistake_at(value.span, fmt::format("no cgroup \"{}\"", value.text));
  }
  draft.own +=
      fmt::format("socket cgroupv2 level {} \"{}\" ", std::ranges::count(value.text, '/'), path);
  draft.maybe_forwarded = false;
  return {};
}

/// A socket bears the class of the cgroup that made it, or that its process has moved to since.
Parsed<void> add_classes(Draft& draft, const Term& term) {
  if (const auto there = check_net_cls(); !there) {
    auto mistake = mistake_at(term.key_span, there.error().message);
    mistake.error().help = there.error().help;
    return mistake;
  }
  draft.own += fmt::format("meta cgroup {} ", nft_ranges(term_ranges(term)));
  draft.maybe_forwarded = false;
  return {};
}

Parsed<void> add_term(Draft& draft, const Term& term) {
  switch (term.key) {
    case TermKey::to: add_addresses(draft, term, "daddr"); return {};
    case TermKey::client: add_addresses(draft, term, "saddr"); return {};
    case TermKey::port:
      draft.ports += fmt::format("th dport {} ", nft_ranges(term_ranges(term)));
      return {};
    case TermKey::client_port:
      draft.ports += fmt::format("th sport {} ", nft_ranges(term_ranges(term)));
      return {};
    case TermKey::proto: return add_protocol(draft, term);
    case TermKey::uid:
    case TermKey::gid:
    case TermKey::user: return add_owner(draft, term);
    case TermKey::cgroup: return add_cgroups(draft, term);
    case TermKey::classid: return add_classes(draft, term);
    default: add_interfaces(draft, term); return {};
  }
}

Parsed<void> check_term(const Term& term) {
  if (is_kernel_term(term)) return {};
  if (term.negated) {
    return mistake_at({term.span.first, 3},
                      "a rule that keeps traffic in the kernel takes no "
                      "\"not\"");
  }
  std::vector<std::string_view> names;
  names.reserve(kKernelKeys.size());
  for (const TermKey key : kKernelKeys) names.push_back(key_name(key));
  if (std::ranges::find(kKernelKeys, term.key) != kKernelKeys.end()) {
    return mistake_at(term.span, "a rule that keeps traffic in the kernel takes no file");
  }
  return mistake_at(term.key_span,
                    fmt::format("the kernel cannot match \"{}\": a rule that keeps traffic in the "
                                "kernel takes {}",
                                key_name(term.key), fmt::join(names, ", ")));
}

Parsed<void> check_possible(const Draft& draft, const Term& term) {
  const bool possible =
      (draft.maybe_v4 || draft.maybe_v6) && (draft.maybe_forwarded || draft.maybe_own);
  if (possible) return {};
  return mistake_at(term.key_span, "with this term the rule can never match");
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

std::expected<Exclusion, SelectorError> exclusion_of(std::span<const Term> terms,
                                                     std::string_view text) {
  Draft draft;
  for (const Term& term : terms) {
    if (auto known = check_term(term); !known) return std::unexpected(std::move(known).error());
    if (auto added = add_term(draft, term); !added) {
      return std::unexpected(std::move(added).error());
    }
    if (auto possible = check_possible(draft, term); !possible) {
      return std::unexpected(std::move(possible).error());
    }
  }
  Exclusion exclusion{.text = std::string(text), .forwarded = {}, .own = {}};
  if (draft.maybe_forwarded) exclusion.forwarded = matches(draft, "");
  if (draft.maybe_own) exclusion.own = matches(draft, draft.own);
  if (terms.size() == 1) exclusion.users = std::move(draft.users);
  return exclusion;
}

std::expected<Exclusion, SelectorError> parse_exclusion(std::string_view text) {
  const auto terms = parse_terms(text);
  if (!terms) return std::unexpected(terms.error());
  return exclusion_of(*terms, text);
}

}  // namespace shunt
