// SPDX-License-Identifier: GPL-2.0-only
// A configuration as somebody may write it: read, or refused with mistakes that have a place in it
// and can be shown on a terminal.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "config/config.h"

namespace {

using namespace shunt;

void check(bool holds) {
  if (!holds) std::abort();
}

void check_place(const std::string& place) {
  check(place.contains('^'));
  for (const char byte : place) check(static_cast<unsigned char>(byte) >= 0x20 || byte == '\n');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto config =
      parse_config("a.toml", std::string(reinterpret_cast<const char*>(data), size));
  if (config) {
    for (const WayOutSpec& spec : config->ways_out) {
      check_place(spec.place(""));
      check_place(spec.place("proxy"));
    }
    for (const RuleSource& rule : config->policy.rules) check(rule.place.line != 0);
    return 0;
  }
  check(!config.error().empty() && config.error().size() <= limits::kConfigMistakes);
  for (const Error& error : config.error()) {
    check(!error.message.empty() && error.kind == Kind::configuration);
    check_place(error.place);
  }
  return 0;
}
