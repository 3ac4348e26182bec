// SPDX-License-Identifier: GPL-2.0-only
// A set of rules, ready to decide about flows (policy/decide.h). It is made whole or not at all,
// never changes, and is shared by all threads; a reload makes a new one.
//
// How it decides without looking at every rule: rules are found by the host, the destination or the
// client that they name. A name is looked up once in one table of all names of all rules (each
// label of it: `*.suffix`), an address once in one sorted table of all networks, and all patterns
// of hosts are looked for in one pass. What these look-ups find, and the rules that name neither,
// are looked at in their order until one matches. While the host's name is unknown, any rule that
// names a host may still match: of those that differ in their hosts alone, the first stands for
// all.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "policy/file_stamp.h"
#include "rule/mistake.h"
#include "rule/rule.h"

namespace shunt {

struct RuleSource {
  std::string text;
  RulePlace place;
};

/// What a Ruleset is made of.
struct PolicySource {
  std::vector<RuleSource> rules;  ///< in their order: the first match wins
  /// What happens to a flow that no rule matches: "direct", or any action with its `else`s.
  RuleSource fallback{.text = std::string(kDirect), .place = {}};
  std::vector<std::string> ways_out;  ///< the configured names, without "direct"
  std::string folder;                 ///< that @FILE is relative to; "": the working directory
  std::string country_file;           ///< MMDB; "": none is configured
  std::string asn_file;
  std::string country_place = {};  ///< where that file is named, as Error::place; "": nowhere
  std::string asn_place = {};
};

/// What happens to a flow.
struct Verdict {
  enum class Kind : std::uint8_t {
    reject,  ///< the client is told: a refused connection
    drop,    ///< the client is told nothing
    carry,   ///< by the first of `ways` that takes it before any byte was sent
  };
  Kind kind = Kind::carry;
  bool drop_if_all_fail = false;  ///< `else drop`; otherwise the client is told why it failed
  ConnectMode connect = ConnectMode::automatic;
  std::vector<std::uint16_t> ways;  ///< indexes of Ruleset::ways_out()

  [[nodiscard]] bool denies() const { return kind != Kind::carry; }
};

struct CompiledRules;

class Ruleset {
 public:
  static constexpr std::uint16_t kDirectWay = 0;

  /// Reads list files and databases, looks accounts up; blocks for as long. Finds up to
  /// limits::kRuleMistakes mistakes.
  static std::expected<std::shared_ptr<const Ruleset>, std::vector<Error>> compile(
      PolicySource source);
  ~Ruleset();
  Ruleset(const Ruleset&) = delete;
  Ruleset& operator=(const Ruleset&) = delete;

  /// Rules are counted from 1, as users do; 0 is the fallback.
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(rules_.size()); }
  [[nodiscard]] const Rule& rule(std::uint32_t number) const { return rules_[number - 1]; }
  [[nodiscard]] const RulePlace& place(std::uint32_t number) const;
  [[nodiscard]] const Verdict& verdict(std::uint32_t number) const { return verdicts_[number]; }
  /// "reject" or "wan2 else direct": an action as it is written.
  [[nodiscard]] std::string verdict_text(std::uint32_t number) const;
  /// "direct", then those of PolicySource.
  [[nodiscard]] std::span<const std::string> ways_out() const { return ways_out_; }

  /// Some rule has a `time` term: Facts::minute_of_week is looked at.
  [[nodiscard]] bool uses_time() const;
  /// Some rule has a term of these: whether it pays to learn of processes at all, and so on.
  [[nodiscard]] bool uses(TermKey key) const {
    return (used_keys_ >> static_cast<int>(key) & 1U) != 0;
  }
  /// Every file that was read; when one of them has changed it is time for a new Ruleset.
  [[nodiscard]] std::span<const FileStamp> files() const { return files_; }
  /// One of them has. A stat(2) for each.
  [[nodiscard]] bool outdated() const;

  /// For decide.h and its neighbours.
  [[nodiscard]] const CompiledRules& compiled() const { return *compiled_; }

 private:
  friend class RulesetBuilder;
  Ruleset();

  std::vector<Rule> rules_;
  std::vector<RulePlace> places_;
  std::vector<Verdict> verdicts_;  // [0] is the fallback's
  std::vector<std::string> ways_out_;
  std::vector<FileStamp> files_;
  std::uint32_t used_keys_ = 0;  // a bit for each TermKey
  std::unique_ptr<CompiledRules> compiled_;
};

}  // namespace shunt
