// SPDX-License-Identifier: GPL-2.0-only
#include "capture/masquerade.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <string>

#include "kernel/nft.h"

namespace shunt {
namespace {

bool legacy_nat_is_loaded(const char* names_file) {
  std::ifstream names(names_file);
  std::string name;
  while (std::getline(names, name)) {
    if (name == "nat") return true;
  }
  return false;
}

bool holds_word(std::string_view text, std::string_view word) {
  const auto same = [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; };
  const auto in_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  for (const char* at = text.begin(); at != text.end();) {
    at = std::search(at, text.end(), word.begin(), word.end(), same);
    if (at == text.end()) return false;
    const char* const behind = at + static_cast<std::ptrdiff_t>(word.size());
    if ((at == text.begin() || !in_word(at[-1])) && (behind == text.end() || !in_word(*behind))) {
      return true;
    }
    at = behind;
  }
  return false;
}

}  // namespace

bool translates_sources(std::string_view ruleset) {
  // iptables-nft shows as `xt target "MASQUERADE"`.
  return holds_word(ruleset, "masquerade") || holds_word(ruleset, "snat");
}

Result<bool> someone_masquerades() {
  if (legacy_nat_is_loaded("/proc/thread-self/net/ip_tables_names")) return true;
  auto context = SHUNT_TRY(NftContext::create());
  return translates_sources(SHUNT_TRY(context.run("list ruleset")));
}

}  // namespace shunt
