// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/marks.h"

#include <fmt/format.h>

#include <array>
#include <bit>

#include "base/error_numbers.h"

namespace shunt {
namespace {

constexpr std::uint32_t kAllBits = 0xffff'ffff;
// Eight bits where there is room, since a byte is what people read easily; two are enough for three
// values.
constexpr std::array kWidths = {8U, 4U, 2U};

Marks marks_at(unsigned width, int shift) {
  return {.mask = ((1U << width) - 1) << shift,
          .forwarded = 1U << shift,
          .own = 2U << shift,
          .egress = 3U << shift};
}

}  // namespace

std::string HoldMarks::match(std::uint32_t value) const {
  return fmt::format("meta mark & {:#010x} == {:#010x}", mask, value);
}

// The fourth bit tells them from all others, the four above it are the number of a worker.
HoldMarks Marks::hold() const {
  const std::uint32_t one = forwarded;
  const std::uint32_t fourth = mask & one << 3;
  if (fourth == 0) return {};
  const std::uint32_t workers = mask / one >> 4;
  return {.mask = one * 0xf,
          .held = fourth,
          .own = own,
          .reset = fourth | one,
          .host_unreachable = fourth | one * 2,
          .network_unreachable = fourth | one * 3,
          .missed = fourth | one * 4,
          .worker_unit = workers == 0 ? 0 : one << 4,
          .most_workers = workers + 1};
}

std::string Marks::match(std::uint32_t value, std::string_view what) const {
  const std::uint32_t looked_at = value == egress ? mask & ~third_bit() : mask;
  return fmt::format("{} mark & {:#010x} == {:#010x}", what, looked_at, value);
}

std::string Marks::set(std::uint32_t value, std::string_view what) const {
  return fmt::format("{0} mark set {0} mark & {1:#010x} | {2:#010x}", what, ~mask, value);
}

Result<Marks> choose_marks(std::uint32_t used_bits) {
  // From the top: the low bits are where everybody begins to count, the second byte is Kubernetes's
  // (0x4000, 0x8000), the third Tailscale's (0xff0000).
  for (const unsigned width : kWidths) {
    for (int shift = 32 - static_cast<int>(width); shift >= 0; --shift) {
      const Marks marks = marks_at(width, shift);
      if ((marks.mask & used_bits) == 0) return marks;
    }
  }
  return Failure(make_error(
      Kind::conflict, error_number::kNoMark,
      fmt::format("no two neighbouring bits of the packet mark are free (in use: {:#010x})",
                  used_bits),
      "nft list ruleset, ip rule: who uses masks so wide?"));
}

std::optional<Marks> marks_within(std::uint32_t mask) {
  if (mask == 0) return std::nullopt;
  const int shift = std::countr_zero(mask);
  for (const unsigned width : kWidths) {
    if (const Marks marks = marks_at(width, shift); marks.mask == mask) return marks;
  }
  return std::nullopt;
}

std::uint32_t bits_taken(std::uint32_t value, std::uint32_t mask) {
  return mask == kAllBits ? value : value | mask;
}

std::uint32_t mark_bits_in_use(const std::vector<RuleSpec>& rules,
                               std::span<const std::string> but_for) {
  std::uint32_t bits = nft_mark_bits(but_for) | legacy_iptables_mark_bits();
  for (const RuleSpec& rule : rules) bits |= bits_taken(rule.mark, rule.mask);
  return bits;
}

}  // namespace shunt
