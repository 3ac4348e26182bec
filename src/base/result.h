// SPDX-License-Identifier: GPL-2.0-only
// Result<T> is how every fallible function that is not on the data path answers. Use it so:
//   auto table = SHUNT_TRY(NftTable::create(text));          // propagates the Error
//   SHUNT_CHECK(route.add());                                // the same for Result<void>
// libstdc++ 12's std::expected has neither and_then nor transform, hence the two macros.
#pragma once

#include <expected>
#include <utility>

#include "base/error.h"

namespace shunt {

template <class T>
using Result = std::expected<T, Error>;

using Failure = std::unexpected<Error>;

}  // namespace shunt

/// Yields the value of a Result, or returns its Error from the enclosing function (a GNU statement
/// expression). Not in coroutines: `return` does not compile there; write the `if` out.
#define SHUNT_TRY(expression)                                                      \
  ({                                                                               \
    auto shunt_result_ = (expression);                                             \
    if (!shunt_result_) return ::shunt::Failure(std::move(shunt_result_).error()); \
    std::move(shunt_result_).value();                                              \
  })

#define SHUNT_CHECK(expression)                                                    \
  do {                                                                             \
    auto shunt_result_ = (expression);                                             \
    if (!shunt_result_) return ::shunt::Failure(std::move(shunt_result_).error()); \
  } while (false)
