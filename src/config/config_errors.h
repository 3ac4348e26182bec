// SPDX-License-Identifier: GPL-2.0-only
// The numbers of errors about the configuration and its service: 40 and on, beside those of
// base/error_numbers.h.
#pragma once

#include <array>

#include "base/error_numbers.h"

namespace shunt {

namespace error_number {
inline constexpr int kConfigFile = 40;
inline constexpr int kNotToml = 41;
inline constexpr int kUnknownKey = 42;
inline constexpr int kBadKeyValue = 43;
inline constexpr int kConfigVersion = 44;
inline constexpr int kNotRunning = 45;
inline constexpr int kNeedsRestart = 46;
}  // namespace error_number

inline constexpr std::array kNumberedConfigErrors = std::to_array<NumberedError>({
    {error_number::kConfigFile, "the configuration file cannot be read"},
    {error_number::kNotToml, "the configuration file is not TOML"},
    {error_number::kUnknownKey, "the configuration has a key that shunt does not know"},
    {error_number::kBadKeyValue, "a key of the configuration has a value of another kind"},
    {error_number::kConfigVersion, "the version of the configuration's format is not known"},
    {error_number::kNotRunning, "no `shunt serve` runs here, or it does not answer"},
    {error_number::kNeedsRestart, "what was changed takes effect only when shunt is restarted"},
});

}  // namespace shunt
