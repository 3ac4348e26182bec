// SPDX-License-Identifier: GPL-2.0-only
// Precompiled into every library: the heavy standard headers and fmt.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <coroutine>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>
