// SPDX-License-Identifier: GPL-2.0-only
#include "config/mistake_order.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "base/escape.h"

namespace shunt {
namespace {

using Position = std::pair<std::uint32_t, std::uint32_t>;  // line, column

constexpr std::uint32_t kNowhere = std::numeric_limits<std::uint32_t>::max();

/// Takes a number off the front; kNowhere where there is none.
std::uint32_t take_number(std::string_view& text) {
  std::uint32_t number = kNowhere;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return error == std::errc() ? number : kNowhere;
}

Position position_of(const Error& mistake, const std::string& file) {
  std::string_view place = mistake.place;
  if (!place.starts_with(file)) return {kNowhere, kNowhere};
  place.remove_prefix(file.size());
  const std::uint32_t line = take_number(place);
  if (line == kNowhere || !place.starts_with(':')) return {kNowhere, kNowhere};
  place.remove_prefix(1);
  return {line, take_number(place)};
}

}  // namespace

void order_by_place(std::vector<Error>& mistakes, std::string_view file) {
  const std::string prefix = escaped(file) + ":";
  std::vector<std::pair<Position, std::size_t>> order;
  order.reserve(mistakes.size());
  for (const Error& mistake : mistakes) {
    order.emplace_back(position_of(mistake, prefix), order.size());
  }
  std::ranges::sort(order);
  std::vector<Error> ordered;
  ordered.reserve(mistakes.size());
  for (const auto& [position, index] : order) ordered.push_back(std::move(mistakes[index]));
  mistakes = std::move(ordered);
}

}  // namespace shunt
