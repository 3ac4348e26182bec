// SPDX-License-Identifier: GPL-2.0-only
// Whatever a file holds: it is examined without reading beyond it and without end, and a script's
// interpreter is one word of its first line.
#include <examine.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

std::size_t bytes_read = 0;

long read_view(const void* context, void* into, std::size_t size, std::uint64_t offset) {
  const auto& file = *static_cast<const std::string_view*>(context);
  if (offset >= file.size()) return 0;
  const std::size_t got = std::min<std::size_t>(size, file.size() - offset);
  std::memcpy(into, file.data() + offset, got);
  bytes_read += got;
  return static_cast<long>(got);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kMostRead = std::size_t{16} << 20;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const shunt_reader reader{.read_at = read_view, .context = &file};
  bytes_read = 0;
  const auto found = shunt_examine_elf(&reader);
  if (bytes_read > kMostRead) std::abort();
  if (found < SHUNT_TARGET_LOADS || found > SHUNT_TARGET_NESTED) std::abort();
  if (!file.starts_with("\177ELF") && found != SHUNT_TARGET_NO_PROGRAM) std::abort();

  std::array<char, SHUNT_MOST_PATH> interpreter{};
  shunt_script_interpreter(file.data(), file.size(), interpreter.data());
  const std::string_view word(interpreter.data());
  if (word.size() > 256 || word.find_first_of(" \t\n") != std::string_view::npos) std::abort();
  if (!word.empty() && !file.starts_with("#!")) std::abort();
  return 0;
}
