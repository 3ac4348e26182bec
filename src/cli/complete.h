// SPDX-License-Identifier: GPL-2.0-only
// Shell completion. The shells' scripts are thin: they hand the words of the command line to
// `shunt completion --candidates` and show what it prints, so that the three of them behave alike
// and follow the tables in options.h by themselves.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shunt::cli {

struct Candidate {
  std::string text;
  std::string help;
  bool operator==(const Candidate&) const = default;
};

/// What the shell itself is to complete, beside the candidates.
enum class Delegate : std::uint8_t {
  nothing,
  files,
  command_line,  ///< the words from Completion::first on are a command line of their own
};

struct Completion {
  std::vector<Candidate> candidates = {};
  Delegate delegate = Delegate::nothing;
  std::size_t first = 0;
};

/// `words` follow `shunt`; the last one, possibly empty, is the one to complete. `interfaces` are
/// the names of this machine's network interfaces.
Completion complete(std::span<const std::string_view> words,
                    std::span<const std::string> interfaces);

/// As the scripts read it: the delegate ("nothing", "files", "command N") in the first line, then
/// a candidate a line, a tab between text and help.
std::string completion_text(const Completion& completion);

/// The script for "bash", "zsh" or "fish"; "" for any other shell.
std::string_view completion_script(std::string_view shell);

}  // namespace shunt::cli
