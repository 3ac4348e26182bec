// SPDX-License-Identifier: GPL-2.0-only
#include "flow/facts.h"

namespace shunt {

std::uint32_t minute_of_week(std::time_t when) {
  std::tm local{};
  if (::localtime_r(&when, &local) == nullptr) return 0;
  const int monday_first = (local.tm_wday + 6) % 7;
  return static_cast<std::uint32_t>((monday_first * 24 + local.tm_hour) * 60 + local.tm_min);
}

}  // namespace shunt
