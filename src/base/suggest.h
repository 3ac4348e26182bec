// SPDX-License-Identifier: GPL-2.0-only
// "did you mean …?": the known word that a mistyped one probably stands for.
#pragma once

#include <span>
#include <string_view>

namespace shunt {

/// The candidate with the fewest edits (insert, delete, replace, swap of neighbours), or the only
/// one that starts with `word`; "" where none is near enough to be worth saying.
[[nodiscard]] std::string_view closest_word(std::string_view word,
                                            std::span<const std::string_view> candidates);

}  // namespace shunt
