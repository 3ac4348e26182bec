// SPDX-License-Identifier: GPL-2.0-only
// A command line, one argument a line: parsed, or refused with an error that can be printed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"
#include "cli/complete.h"
#include "cli/report.h"

namespace {

std::vector<std::string_view> lines(std::string_view text) {
  std::vector<std::string_view> out;
  while (true) {
    const std::size_t end = text.find('\n');
    out.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::string_view> arguments =
      lines({reinterpret_cast<const char*>(data), size});
  for (const shunt::cli::Command* command : shunt::cli::commands()) {
    const auto options = shunt::cli::parse(*command, arguments);
    if (options) continue;
    const std::string text = shunt::cli::format_error(options.error(), false);
    if (options.error().kind != shunt::Kind::usage || !text.ends_with('\n')) std::abort();
  }
  (void)shunt::cli::completion_text(shunt::cli::complete(arguments, {}));
  return 0;
}
