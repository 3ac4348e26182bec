// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace shunt {

/// What a look at the bytes received so far gave. Decoders keep no state: call again with more.
template <class T>
struct Decoded {
  enum class Status : std::uint8_t { need_more, complete, malformed };

  Status status = Status::need_more;
  T value{};
  std::size_t size = 0;       ///< bytes that the message took, when complete
  std::string_view why = {};  ///< malformed: what is wrong, where a decoder says so; static text

  [[nodiscard]] bool complete() const { return status == Status::complete; }
  [[nodiscard]] bool malformed() const { return status == Status::malformed; }
};

}  // namespace shunt
