// SPDX-License-Identifier: GPL-2.0-only
#include "rule/accounts.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace shunt {
namespace {

std::optional<std::uint32_t> user_number(const std::string& name) {
  const passwd* entry = ::getpwnam(name.c_str());  // NOLINT(concurrency-mt-unsafe)
  return entry == nullptr ? std::nullopt : std::optional<std::uint32_t>(entry->pw_uid);
}

std::optional<std::uint32_t> group_number(const std::string& name) {
  const group* entry = ::getgrnam(name.c_str());  // NOLINT(concurrency-mt-unsafe)
  return entry == nullptr ? std::nullopt : std::optional<std::uint32_t>(entry->gr_gid);
}

}  // namespace

Parsed<std::vector<NumberRange>> account_numbers(const Term& term) {
  std::vector<NumberRange> ids;
  for (const Value& value : term.values) {
    if (value.form == ValueForm::range) {
      ids.push_back({value.low, value.high});
      continue;
    }
    const bool group = term.key == TermKey::gid;
    const auto id = group ? group_number(value.text) : user_number(value.text);
    if (!id) {
      return mistake_at(value.span,
                        fmt::format("no {} \"{}\"", group ? "group" : "user", value.text));
    }
    ids.push_back({*id, *id});
  }
  return merged(std::move(ids));
}

std::vector<NumberRange> merged(std::vector<NumberRange> ranges) {
  std::ranges::sort(ranges, {}, &NumberRange::low);
  std::vector<NumberRange> out;
  for (const NumberRange& next : ranges) {
    const bool touches =
        !out.empty() && (next.low <= out.back().high || next.low - out.back().high == 1);
    if (touches) {
      out.back().high = std::max(out.back().high, next.high);
    } else {
      out.push_back(next);
    }
  }
  return out;
}

std::vector<NumberRange> term_ranges(const Term& term) {
  std::vector<NumberRange> ranges;
  for (const Value& value : term.values) ranges.push_back({value.low, value.high});
  return merged(std::move(ranges));
}

}  // namespace shunt
