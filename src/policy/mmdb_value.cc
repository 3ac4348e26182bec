// SPDX-License-Identifier: GPL-2.0-only
#include "policy/mmdb_value.h"

namespace shunt {
namespace {

/// Values looked at for one member. A record of the largest public databases has some hundred.
constexpr unsigned kSteps = 4096;

}  // namespace

std::optional<std::uint32_t> MmdbValue::big_endian(std::size_t at, std::size_t bytes) const {
  if (at > section_.size() || bytes > section_.size() - at) return std::nullopt;
  std::uint32_t value = 0;
  for (const char byte : section_.substr(at, bytes)) {
    value = value << 8 | static_cast<unsigned char>(byte);
  }
  return value;
}

/// A pointer has its size in the control byte: 11, 19, 27 or 32 bits, the first three with an
/// offset that the shorter forms do not reach.
std::optional<MmdbValue::Head> MmdbValue::pointer_head(std::size_t at, unsigned control) const {
  constexpr std::uint32_t kOffsets[] = {0, 2048, 526336, 0};
  const unsigned form = control >> 3 & 3U;
  const auto rest = big_endian(at + 1, form + 1);
  if (!rest) return std::nullopt;
  const std::uint32_t high = form == 3 ? 0 : (control & 7U) << (8 * (form + 1));
  return Head{
      .type = Type::pointer, .size = (high | *rest) + kOffsets[form], .payload = at + 2 + form};
}

std::optional<MmdbValue::Head> MmdbValue::raw_head(std::size_t at) const {
  const auto control = big_endian(at, 1);
  if (!control) return std::nullopt;
  auto type = static_cast<unsigned>(*control >> 5);
  if (type == static_cast<unsigned>(Type::pointer)) return pointer_head(at, *control);
  ++at;
  if (type == 0) {
    const auto extended = big_endian(at, 1);
    if (!extended || *extended > 8) return std::nullopt;
    type = *extended + 7;
    ++at;
  }
  std::uint32_t size = *control & 31U;
  if (size >= 29) {  // the size follows, in one, two or three bytes
    constexpr std::uint32_t kOffsets[] = {29, 285, 65821};
    const std::size_t bytes = size - 28;
    const auto more = big_endian(at, bytes);
    if (!more) return std::nullopt;
    size = *more + kOffsets[bytes - 1];
    at += bytes;
  }
  return Head{.type = static_cast<Type>(type), .size = size, .payload = at};
}

std::optional<MmdbValue::Head> MmdbValue::head(std::size_t at) const {
  auto found = raw_head(at);
  if (!found || found->type != Type::pointer) return found;
  found = raw_head(found->size);
  if (found && found->type == Type::pointer) return std::nullopt;  // the format forbids it
  return found;
}

std::optional<std::size_t> MmdbValue::skip(std::size_t at, unsigned& steps) const {
  for (std::uint64_t left = 1; left > 0; --left) {
    if (steps == 0) return std::nullopt;
    --steps;
    const auto found = raw_head(at);
    if (!found) return std::nullopt;
    at = found->payload;
    switch (found->type) {
      case Type::map: left += std::uint64_t{found->size} * 2; break;
      case Type::array: left += found->size; break;
      case Type::pointer:
      case Type::boolean: break;
      default:
        if (found->size > section_.size() - at) return std::nullopt;
        at += found->size;
    }
  }
  return at;
}

std::optional<MmdbValue> MmdbValue::member(std::string_view key) const {
  const auto map = head(at_);
  if (!map || map->type != Type::map) return std::nullopt;
  std::size_t at = map->payload;
  unsigned steps = kSteps;
  for (std::uint32_t i = 0; i < map->size; ++i) {
    const auto name = MmdbValue(section_, at).text();
    const auto value = skip(at, steps);
    if (!name || !value) return std::nullopt;
    if (*name == key) return MmdbValue(section_, *value);
    const auto next = skip(*value, steps);
    if (!next) return std::nullopt;
    at = *next;
  }
  return std::nullopt;
}

std::optional<std::string_view> MmdbValue::text() const {
  const auto found = head(at_);
  if (!found || found->type != Type::text || found->payload > section_.size() ||
      found->size > section_.size() - found->payload) {
    return std::nullopt;
  }
  return section_.substr(found->payload, found->size);
}

std::optional<std::uint64_t> MmdbValue::number() const {
  const auto found = head(at_);
  if (!found) return std::nullopt;
  const bool is_number = found->type == Type::uint16 || found->type == Type::uint32 ||
                         found->type == Type::uint64 || found->type == Type::uint128;
  if (!is_number || found->size > 8) return std::nullopt;
  const std::size_t low_bytes = found->size < 4 ? found->size : 4;
  const auto high = big_endian(found->payload, found->size - low_bytes);
  const auto low = big_endian(found->payload + found->size - low_bytes, low_bytes);
  if (!high || !low) return std::nullopt;
  return std::uint64_t{*high} << 32 | *low;
}

}  // namespace shunt
