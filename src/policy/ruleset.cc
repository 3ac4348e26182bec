// SPDX-License-Identifier: GPL-2.0-only
#include "policy/ruleset.h"

#include <algorithm>

#include "policy/compiled.h"

namespace shunt {

Ruleset::Ruleset() : compiled_(std::make_unique<CompiledRules>()) {}
Ruleset::~Ruleset() = default;

const RulePlace& Ruleset::place(std::uint32_t number) const { return places_[number - 1]; }

bool Ruleset::uses_time() const { return uses(TermKey::time); }

bool Ruleset::outdated() const {
  return std::ranges::any_of(files_, [](const FileStamp& file) { return file.changed(); });
}

std::string Ruleset::verdict_text(std::uint32_t number) const {
  const Verdict& verdict = verdicts_[number];
  std::string text;
  if (verdict.kind == Verdict::Kind::reject) text = kReject;
  if (verdict.kind == Verdict::Kind::drop) text = kDrop;
  for (const std::uint16_t way : verdict.ways) {
    if (!text.empty()) text += " else ";
    text += ways_out_[way];
  }
  if (verdict.drop_if_all_fail) text += " else drop";
  if (verdict.connect == ConnectMode::early) text += " connect early";
  if (verdict.connect == ConnectMode::honest) text += " connect honest";
  return text;
}

}  // namespace shunt
